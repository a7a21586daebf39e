"""Stream predictions in the queue: the states around them, how many wait and for how long, and clients that have gone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mistk_service.core.events import PredictionAnswered
from mistk_service.errors import (
    HookFailed,
    OperationRefused,
    OperationUnsupported,
    PredictionTimedOut,
    ServiceBusy,
)
from tests.core.test_stream_predictions import Launch, begin, held
from tests.support.harness import TIMEOUT, Gate, Instance, of_type

pytestmark = pytest.mark.anyio


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
