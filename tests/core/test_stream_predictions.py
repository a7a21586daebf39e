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
    OperationUnsupported,
)
from tests.support.harness import Gate, Instance, of_type

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
