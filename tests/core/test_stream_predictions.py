"""Stream predictions: every answer belongs to its request, alone or merged, and a failing request fails alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mistk_service.core.events import PredictionAnswered
from mistk_service.errors import (
    HookFailed,
    InvalidRequest,
    OperationRefused,
    OperationUnsupported,
    PredictionTimedOut,
    ServiceBusy,
)
from mistk_service.kinds.predictions import Tensor, Tensors
from mistk_service.workers.child.tensors import arrays_of
from tests.support.harness import TIMEOUT, Gate, Instance, of_type

pytestmark = pytest.mark.anyio

Launch = Callable[..., Any]


async def held(launch: Launch, gate: Gate, kind: str, model: str = "Batching", **options: Any) -> tuple[Instance, Any]:
    """Return an instance whose model is busy with a stream prediction, and that prediction."""
    instance: Instance = await launch(f"batching:{model}", kind, **options)
    await instance.ready({"gate": str(gate.path)})
    first = asyncio.ensure_future(instance.stream({"first": "hold"}))
    await instance.until(lambda status: status["payload"].get("holding"))
    return instance, first


def begin(instance: Instance, *requests: dict[str, str], details: bool = False) -> list[asyncio.Future[Any]]:
    """Begin stream predictions, in order."""
    return [asyncio.ensure_future(instance.stream(request, details=details)) for request in requests]


# --- belonging ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["Batching", "OneAtATime"])
async def test_of_64_concurrent_requests_with_equal_ids_each_gets_its_own_answer(
    launch: Launch, gate: Gate, kind: str, model: str
):
    instance, first = await held(launch, gate, kind, model)
    requests = [{"a": f"{n}/a", "b": f"{n}/b"} for n in range(64)]
    answers = begin(instance, *requests)
    await instance.heard()
    assert instance.controller.view.in_flight == 65
    gate.tell("g")
    assert (await first)["first"]["record"] == "hold"
    for request, answer in zip(requests, await asyncio.gather(*answers), strict=True):
        assert {key: value["record"] for key, value in answer.items()} == request
    assert instance.controller.view.in_flight == 0
    assert instance.state == "ready"


async def test_of_500_sequential_requests_each_gets_its_own_answer(launch: Launch, kind: str):
    instance = await (await launch("batching:Batching", kind)).ready()
    for n in range(500):
        answer = await instance.stream({"id": str(n)})
        assert answer["id"]["record"] == str(n)
        assert answer["id"]["together"] == 1
    assert len(of_type(instance.events, PredictionAnswered)) == 500


async def test_ids_of_any_text_survive_a_merge(launch: Launch, gate: Gate, kind: str):
    instance, first = await held(launch, gate, kind)
    ids = ["", "a", "a#3", "a#3#4", "é☃\U0001f600", "\0", "a" * 10_000]
    requests = [{key: f"{n}{key[:5]}" for key in ids[: 1 + n % 3]} for n in range(12)] + [{key: key[:5]} for key in ids]
    answers = begin(instance, *requests)
    await instance.heard()
    gate.tell("g")
    for request, answer in zip(requests, await asyncio.gather(*answers), strict=True):
        assert {key: value["record"] for key, value in answer.items()} == request
    await first


# --- merging -----------------------------------------------------------------------------------------------------------


async def test_what_has_queued_goes_together_up_to_the_limit(launch: Launch, gate: Gate, kind: str):
    instance, first = await held(launch, gate, kind)
    answers = begin(instance, *({"a": str(n), "b": str(n), "c": str(n)} for n in range(5)))
    await instance.heard()
    gate.tell("g")
    together = [answer["a"]["together"] for answer in await asyncio.gather(*answers)]
    assert together == [6, 6, 6, 6, 3], "eight records at most, and no request is divided"
    await first


async def test_a_request_beyond_the_limit_goes_alone_and_undivided(launch: Launch, gate: Gate, kind: str):
    instance, first = await held(launch, gate, kind)
    answers = begin(instance, {"a": "1"}, {str(n): "2" for n in range(20)}, {"a": "3"})
    await instance.heard()
    gate.tell("g")
    one, many, three = await asyncio.gather(*answers)
    assert one["a"]["together"] == 1
    assert {value["together"] for value in many.values()} == {20}
    assert three["a"]["together"] == 1
    await first


def infer(instance: Instance, *records: str, name: str = "a") -> asyncio.Future[Any]:
    """Begin a prediction for a tensor of byte strings."""
    data = b"".join(len(each).to_bytes(4, "little") + each.encode() for each in records)
    tensor = Tensor(name, "bytes", (len(records),), memoryview(data))
    return asyncio.ensure_future(instance.controller.predict(Tensors((tensor,))))


async def inferred(answer: asyncio.Future[Any]) -> dict[str, list[Any]]:
    return {name: array.tolist() for name, array in arrays_of(Tensors((await answer).tensors())).items()}


async def test_tensors_of_one_layout_go_together_and_each_request_gets_its_records(
    launch: Launch, gate: Gate, kind: str
):
    instance, first = await held(launch, gate, kind, "BatchingTensors")
    requests = [["1"], ["2", "3"], ["4", "forgotten"], ["5"], ["6"], ["7"], ["8", "9"]]
    answers = [infer(instance, *request) for request in requests]
    await instance.heard()
    gate.tell("g")
    for request, answer in zip(requests, answers, strict=True):
        if "forgotten" in request:
            assert (await inferred(answer))["record"] == [b"4"]  # alone, it is whatever the model answers
        else:
            assert (await inferred(answer))["record"] == [each.encode() for each in request]
    await first
    instance, first = await held(launch, gate, kind, "BatchingTensors")
    answers = [infer(instance, "1"), infer(instance, "2", "3"), infer(instance, "4"), infer(instance, "5", "guilty")]
    await instance.heard()
    gate.tell("g")
    found = await asyncio.gather(*map(inferred, answers), return_exceptions=True)
    assert [each["record"] for each in found if isinstance(each, dict)] == [[b"1"], [b"2", b"3"], [b"4"]]
    assert isinstance(found[-1], HookFailed)
    await first


async def test_tensors_of_other_layouts_go_alone(launch: Launch, gate: Gate, kind: str):
    instance, first = await held(launch, gate, kind, "BatchingTensors")
    together = [infer(instance, "1"), infer(instance, "2", "3")]
    other = infer(instance, "4", name="b")
    records = asyncio.ensure_future(instance.stream({"a": "5"}))
    await instance.heard()
    gate.tell("g")
    assert [(await inferred(each))["together"] for each in together] == [[3], [3, 3]]
    with pytest.raises(HookFailed, match="KeyError"):
        await other
    assert (await records)["a"]["together"] == 1
    await first


async def test_tensors_whose_first_dimension_counts_no_records_are_not_joined(launch: Launch, gate: Gate, kind: str):
    instance, first = await held(launch, gate, kind, "WholeVectors")
    answers = [infer(instance, *records) for records in ("1234", "5678")]
    await instance.heard()
    gate.tell("g")
    assert [(await inferred(each))["together"] for each in answers] == [[4] * 4] * 2
    await first


async def test_a_model_that_wants_one_at_a_time_gets_one_at_a_time(launch: Launch, gate: Gate, kind: str):
    instance, first = await held(launch, gate, kind, "OneAtATime")
    answers = begin(instance, *({"a": str(n)} for n in range(5)))
    await instance.heard()
    gate.tell("g")
    results = await asyncio.gather(*answers)
    assert [answer["a"]["together"] for answer in results] == [1] * 5
    assert [answer["a"]["call"] for answer in results] == [2, 3, 4, 5, 6], "in the order in which they came"
    await first


async def test_requests_for_details_are_not_merged(launch: Launch, gate: Gate, kind: str):
    instance, first = await held(launch, gate, kind)
    plain = begin(instance, {"a": "1"}, {"a": "2"})
    await instance.heard()
    detailed = begin(instance, {"a": "3"}, {"a": "4"}, details=True)
    await instance.heard()
    gate.tell("g")
    assert [(a["a"]["together"], a["a"]["details"]) for a in await asyncio.gather(*plain)] == [(2, False)] * 2
    assert [(a["a"]["together"], a["a"]["details"]) for a in await asyncio.gather(*detailed)] == [(1, True)] * 2
    await first


async def test_an_empty_request_gets_an_empty_answer(launch: Launch, gate: Gate, kind: str):
    instance, first = await held(launch, gate, kind)
    answers = begin(instance, {}, {"a": "1"}, {})
    await instance.heard()
    gate.tell("g")
    empty, one, also_empty = await asyncio.gather(*answers)
    assert (empty, one["a"]["record"], also_empty) == ({}, "1", {})
    await first


# --- failing -----------------------------------------------------------------------------------------------------------


async def test_in_a_merged_call_only_the_guilty_request_fails(launch: Launch, gate: Gate, kind: str):
    instance, first = await held(launch, gate, kind)
    answers = begin(instance, {"a": "1"}, {"a": "guilty"}, {"a": "2"}, {"a": "guilty", "b": "3"}, {"a": "4"})
    await instance.heard()
    gate.tell("g")
    results = await asyncio.gather(*answers, return_exceptions=True)
    assert [r["a"]["record"] for r in results if isinstance(r, dict)] == ["1", "2", "4"]
    for guilty in (results[1], results[3]):
        assert isinstance(guilty, HookFailed)
        assert guilty.operation == "streamPredict"
        assert guilty.failure.type == "ValueError"
        assert "do_stream_predict" in (guilty.failure.traceback or "")
    assert instance.state == "ready"
    await first


async def test_an_answer_without_all_ids_is_not_taken_from_the_neighbours(launch: Launch, gate: Gate, kind: str):
    instance, first = await held(launch, gate, kind)
    answers = begin(instance, {"a": "1"}, {"a": "forgotten", "b": "2"}, {"a": "3"})
    await instance.heard()
    gate.tell("g")
    one, two, three = await asyncio.gather(*answers)
    assert (one["a"]["record"], three["a"]["record"]) == ("1", "3")
    assert {key: value["record"] for key, value in two.items()} == {"b": "2"}
    await first


async def test_a_failing_hook_leaves_the_model_ready(launch: Launch, kind: str):
    instance = await (await launch("batching:Batching", kind)).ready()
    with pytest.raises(HookFailed, match="one of 1 records is guilty"):
        await instance.stream({"a": "guilty"})
    assert instance.state == "ready"
    assert "error" not in instance.payload
    assert (await instance.stream({"a": "1"}))["a"]["record"] == "1"
    assert [event.succeeded for event in of_type(instance.events, PredictionAnswered)] == [False, True]


@pytest.mark.parametrize("odd", ["object", "deep", "cyclic", "surrogate", "tuple key"])
async def test_an_answer_that_cannot_be_sent_fails_its_request_alone(launch: Launch, kind: str, odd: str):
    instance = await (await launch("odd_answers:OddAnswers", kind)).ready()
    with pytest.raises(HookFailed):
        await instance.stream({"a": odd})
    assert instance.state == "ready"
    assert await instance.stream({"a": "scalar"}) == {"a": 3}


@pytest.mark.parametrize(
    ("odd", "answer"),
    [
        ("list", [1, 2]),
        ("none", None),
        ("other ids", {"b": 1}),
        ("nan", {"a": None}),
        ("path", {"a": "x/y"}),
        ("integer", {"a": 2**70}),
        ("integer key", {"a": {"1": 2}}),
    ],
)
async def test_a_rare_but_right_answer_arrives(launch: Launch, kind: str, odd: str, answer: Any):
    instance = await (await launch("odd_answers:OddAnswers", kind)).ready()
    assert await instance.stream({"a": odd}) == answer


async def test_not_implemented_at_run_time_is_an_answer_and_no_failure(launch: Launch):
    instance = await launch("raises:Raises", "thread")
    await instance.ready({"hook": "do_stream_predict", "error": "NotImplementedError"})
    with pytest.raises(OperationUnsupported, match="not this one"):
        await instance.stream({"a": ""})
    assert instance.state == "ready"


async def test_the_refusal_of_an_unsupported_request_has_the_state_and_the_possible_operations(launch: Launch):
    instance = await launch("raises:Raises", "thread")
    await instance.ready({"hook": "do_stream_predict", "error": "NotImplementedError"})
    two = begin(instance, {"a": ""}, {"b": ""})
    first, last = await asyncio.gather(*two, return_exceptions=True)
    assert isinstance(first, OperationUnsupported)
    assert isinstance(last, OperationUnsupported)
    assert (first.state, first.possible) == ("predicting", ("streamPredict", "reset", "shutdown"))
    assert (last.state, last.possible) == ("ready", instance.controller.view.possible())


async def test_a_hook_without_the_argument_details_is_called_without(launch: Launch, kind: str):
    instance = await (await launch("batching:WithoutDetails", kind)).ready()
    assert await instance.stream({"a": "x"}, details=True) == {"a": "X"}


async def test_a_hook_that_takes_details_by_keyword_is_given_it(launch: Launch, kind: str):
    instance = await (await launch("batching:KeywordDetails", kind)).ready()
    assert await instance.stream({"a": "x"}, details=True) == {"a": True}
    assert await instance.stream({"a": "x"}) == {"a": False}


@pytest.mark.parametrize("request_", [{"\ud800": "a"}, {"a": "\ud800"}])
async def test_a_request_that_is_not_unicode_is_refused_and_the_others_continue(
    launch: Launch, gate: Gate, request_: dict[str, str]
):
    instance, first = await held(launch, gate, "thread")
    with pytest.raises(InvalidRequest, match="not valid Unicode"):
        await instance.stream(request_)
    assert instance.controller.view.in_flight == 1
    gate.tell("g")
    await first


# --- states ------------------------------------------------------------------------------------------------------------


async def test_while_stream_predictions_are_in_flight_only_further_ones_are_accepted(
    launch: Launch, gate: Gate, kind: str
):
    instance, first = await held(launch, gate, kind)
    assert instance.state == "predicting"
    assert instance.payload["possible"] == ["streamPredict", "reset", "shutdown"]
    before = instance.version
    for operation in ("loadData", "buildModel", "updateStreamProperties", "pause", "resumePredict"):
        with pytest.raises(OperationRefused) as caught:
            await instance.call(operation, *([{}] if operation == "updateStreamProperties" else []))
        if not isinstance(caught.value, OperationUnsupported):
            assert (caught.value.state, caught.value.activity) == ("predicting", None)
            assert "1 streamPredict" in str(caught.value)
    assert instance.version == before
    second = begin(instance, {"a": "1"})
    await instance.heard()
    gate.tell("g")
    await asyncio.gather(first, *second)
    assert instance.state == "ready"


async def updating(launch: Launch, gate: Gate, kind: str) -> Instance:
    """Return an instance that updates its stream properties until it is told something else."""
    instance: Instance = await launch("steered:Steered", kind)
    await instance.run("initialize", {"gate": str(gate.path)})
    gate.tell("d")
    await instance.run("buildModel")
    await instance.call("updateStreamProperties", {})
    return instance


async def test_stream_predictions_wait_for_an_update_of_the_properties(launch: Launch, gate: Gate, kind: str):
    instance = await updating(launch, gate, kind)
    assert instance.payload["possible"] == ["streamPredict", "reset", "shutdown"]
    answers = begin(instance, {"a": "1"}, {"a": "2"})
    await instance.heard()
    assert instance.state == "updating_properties"
    gate.tell("d")
    await instance.until("predicting")
    gate.tell("dd")
    assert await asyncio.gather(*answers) == [{"a": "1"}, {"a": "2"}]
    assert instance.state == "ready"


async def test_stream_predictions_that_wait_for_an_update_that_fails_are_not_made(
    launch: Launch, gate: Gate, kind: str
):
    instance = await updating(launch, gate, kind)
    (answer,) = begin(instance, {"a": "1"})
    await instance.heard()
    gate.tell("f")
    with pytest.raises(HookFailed, match="failed in updateStreamProperties: ValueError: told to fail"):
        await answer
    assert instance.state == "failed"
    gate.tell("d")


async def test_properties_for_a_model_that_has_none_are_accepted(launch: Launch, kind: str):
    instance = await (await launch("batching:WithoutDetails", kind)).ready()
    status = await instance.run("updateStreamProperties", {"threshold": 0.5})
    assert (status["state"], status["payload"]["lastActivity"]["outcome"]) == ("ready", "completed")


async def test_brief_stream_predictions_concern_no_watcher(launch: Launch):
    # As long as that takes, it is brief.
    instance = await (await launch("steered:Steered", "thread", conflation=TIMEOUT)).ready()
    before = instance.controller.log.publish().version
    for _ in range(20):
        await instance.stream({"a": ""})
    # Conflation publishes what is true after a while, which is the same as before; so is this.
    assert instance.controller.log.publish().version == before


async def test_more_than_the_queue_takes_is_refused_for_now(launch: Launch, gate: Gate):
    instance, first = await held(launch, gate, "thread", max_queue=3)
    others = begin(instance, {"a": "1"}, {"a": "2"})
    await instance.heard()
    with pytest.raises(ServiceBusy, match="3 predictions are in flight") as caught:
        await instance.stream({"a": "3"})
    assert caught.value.retry_after
    gate.tell("g")
    await asyncio.gather(first, *others)
    assert (await instance.stream({"a": "3"}))["a"]["record"] == "3"


async def test_a_client_that_has_gone_harms_no_other(launch: Launch, gate: Gate, kind: str):
    instance, first = await held(launch, gate, kind)
    gone, stays = begin(instance, {"a": "1"}, {"a": "2"})
    await instance.heard()
    gone.cancel()
    gate.tell("g")
    assert (await stays)["a"]["record"] == "2"
    await first
    await instance.until("ready")
    assert instance.controller.view.in_flight == 0


async def test_who_goes_while_waiting_gives_the_place_back_and_the_model_is_not_asked(
    launch: Launch, gate: Gate, kind: str
):
    instance, first = await held(launch, gate, kind, "OneAtATime", max_queue=3)
    gone = begin(instance, {"a": "1"}, {"a": "2"})
    await instance.heard()
    assert instance.controller.view.in_flight == 3
    for request in gone:
        request.cancel()
    await instance.heard()
    assert instance.controller.view.in_flight == 1
    others = begin(instance, {"a": "3"}, {"a": "4"})
    await instance.heard()
    gate.tell("g")
    answers = await asyncio.gather(*others)
    assert [answer["a"]["call"] for answer in answers] == [2, 3], "the first call was that which was held"
    await first
    assert len(of_type(instance.events, PredictionAnswered)) == 3


async def test_who_goes_when_the_model_has_begun_keeps_the_place_until_it_has_ended(
    launch: Launch, gate: Gate, kind: str
):
    instance, first = await held(launch, gate, kind, max_queue=1)
    first.cancel()
    await instance.heard()
    assert (instance.controller.view.in_flight, instance.state) == (1, "predicting")
    with pytest.raises(ServiceBusy):
        await instance.stream({"a": "1"})
    gate.tell("g")
    await instance.until("ready")
    assert (await instance.stream({"a": "1"}))["a"]["record"] == "1"


async def test_the_last_to_go_leaves_the_model_ready(launch: Launch, kind: str):
    instance = await (await launch("steered:Steered", kind)).ready()
    for _ in range(20):
        (request,) = begin(instance, {"a": "1"})
        await asyncio.sleep(0)  # it is sent
        request.cancel()
    await instance.heard()
    assert (instance.controller.view.in_flight, instance.state) == (0, "ready")


async def test_a_prediction_that_takes_too_long_is_given_up_and_the_model_is_not_asked(
    launch: Launch, gate: Gate, kind: str
):
    # Long enough for the model to begin with the first one, and to answer the last one.
    instance, first = await held(launch, gate, kind, "OneAtATime", max_queue=2, stream_timeout=2.5)
    with pytest.raises(PredictionTimedOut, match=r"longer than 2\.5 s \(--stream-timeout\)"):
        await instance.stream({"a": "1"})
    with pytest.raises(PredictionTimedOut):
        await first
    await instance.heard()
    assert instance.controller.view.in_flight == 1, "what the model has begun with goes on"
    gate.tell("g")
    await instance.until("ready")
    assert (await instance.stream({"a": "2"}))["a"]["call"] == 2
    assert instance.controller.view.in_flight == 0


async def test_the_end_of_a_time_that_was_kept_concerns_nobody(launch: Launch, gate: Gate):
    faults: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    instance = await launch("batching:Batching", "thread", stream_timeout=2.5)
    await instance.ready({"gate": str(gate.path)})
    with pytest.raises(HookFailed):
        await instance.stream({"a": "guilty"})
    (late,) = begin(instance, {"a": "hold"})
    with pytest.raises(PredictionTimedOut):  # the time of the one before is over by then
        await late
    gate.tell("g")
    await instance.until("ready")
    assert faults == []


async def test_an_observer_receives_every_answer(launch: Launch):
    instance = await (await launch("batching:Batching", "thread")).ready()
    await instance.stream({"a": "1", "b": "2"})
    (answered,) = of_type(instance.events, PredictionAnswered)
    assert (answered.records, answered.succeeded) == (2, True)
    assert answered.seconds >= 0


async def test_the_answer_is_what_the_model_answered(launch: Launch):
    instance = await (await launch("steered:Steered", "thread")).ready()
    assert await instance.stream({"a": "é"}) == {"a": "é"}
