"""Replicas predict in addition to the worker: each has the built model, and a death only fails its own predictions."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mistk_service.core.events import ReplicasChanged
from mistk_service.errors import InvalidRequest, OperationRefused, WorkerDied
from tests.support.harness import TIMEOUT, Gate, Instance, of_type

pytestmark = pytest.mark.anyio

Launch = Callable[..., Any]

REPLICAS = 2


async def ready(
    launch: Launch, kind: str = "process", model: str = "Replicated", replicas: int = REPLICAS, **properties: Any
) -> Instance:
    """Return an instance that is built, with all its replicas."""
    instance: Instance = await launch(f"replicated:{model}", kind, replicas=replicas)
    await instance.ready(properties)
    if replicas > 1:
        await complete(instance)
    return instance


async def complete(instance: Instance, count: int = REPLICAS) -> None:
    """Wait until all replicas have the model."""
    await instance.until(lambda status: status["payload"].get("replicas") == {"usable": count, "of": count})


async def ask(instance: Instance, *names: str) -> list[Any]:
    """Ask for predictions at the same time, and return the answers."""
    answers = await asyncio.gather(*(instance.stream({name: ""}) for name in names))
    return [answer[name] for answer, name in zip(answers, names, strict=True)]


async def who(instance: Instance) -> set[str]:
    """Return who answers predictions."""
    return {answer["who"] for answer in await ask(instance, *"abcdefgh")}


async def models(instance: Instance) -> set[str]:
    """Return the models that predictions are made with."""
    return {answer["model"] for answer in await ask(instance, *"abcdefgh")}


def pids(names: set[str]) -> list[int]:
    return [int(name.partition("/")[0]) for name in names]


class Load:
    """Predictions without a break, until it is closed."""

    def __init__(self, instance: Instance, connections: int = 8) -> None:
        self._instance = instance
        self.answers: list[Any] = []
        self._ended = False
        self._tasks = [asyncio.ensure_future(self._ask()) for _ in range(connections)]

    async def _ask(self) -> None:
        while not self._ended:
            self.answers += await ask(self._instance, "a")

    async def more(self, count: int = 50) -> None:
        """Wait for further answers."""
        wanted = len(self.answers) + count
        async with asyncio.timeout(TIMEOUT):
            while len(self.answers) < wanted:
                await asyncio.sleep(0)
                assert not any(task.done() and task.exception() for task in self._tasks)

    async def __aenter__(self) -> Load:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ended = True
        await asyncio.gather(*self._tasks)


async def test_predictions_are_spread_over_the_replicas_and_none_goes_to_the_worker(launch: Launch, kind: str):
    instance = await ready(launch, kind)
    answering = await who(instance)
    assert len(answering) == REPLICAS
    if kind == "process":
        assert instance.workers[0].pid not in pids(answering)
    assert instance.state == "ready"


async def test_one_replica_is_the_worker_itself(launch: Launch, kind: str):
    instance = await ready(launch, kind, replicas=1)
    assert len(await who(instance)) == len(instance.workers) == 1
    assert of_type(instance.events, ReplicasChanged) == []
    assert "replicas" not in instance.payload


async def test_an_update_rolls_over_the_replicas_while_others_predict(launch: Launch, gate: Gate):
    instance = await ready(launch)
    async with Load(instance) as load:
        await load.more()
        begun = await instance.call("updateStreamProperties", {"wait": str(gate.path)})
        for _ in range(1 + REPLICAS):
            await load.more()
            assert instance.state == "updating_properties"
            gate.tell("g")
        await instance.until(lambda s: "activity" not in s["payload"], after=begun["objectInfo"]["resourceVersion"])
        new = len(load.answers)
        assert all(answer["props"] for answer in await ask(instance, *"abcdefgh"))
        await load.more()
    assert not any(answer["props"] for answer in load.answers[:50])
    assert all(answer["props"] for answer in load.answers[new + 8 :])


async def test_a_refused_update_changes_no_replica(launch: Launch, kind: str):
    instance = await ready(launch, kind)
    await instance.run("updateStreamProperties", {"threshold": 1})
    await instance.call("updateStreamProperties", {"refused": True})
    with pytest.raises(InvalidRequest):
        await instance.controller.wait_accepted()
    await instance.until("ready")
    assert len(await who(instance)) == REPLICAS
    assert all(answer["props"] == {"threshold": 1} for answer in await ask(instance, *"abcd"))


async def test_a_loaded_model_rolls_over_the_replicas_under_load(launch: Launch, kind: str, tmp_path: Path):
    instance = await ready(launch, kind)
    async with Load(instance) as load:
        for number in range(3):
            (tmp_path / "model").write_text(f"version {number}")
            built = await instance.call("buildModel", str(tmp_path))
            await load.more(1)
            await instance.until(lambda s: "activity" not in s["payload"], after=built["objectInfo"]["resourceVersion"])
            assert await models(instance) == {f"version {number}"}
    assert {answer["model"] for answer in load.answers} <= {"built", "version 0", "version 1", "version 2"}
    # A replica that joins later has the same history.
    os.kill(pids(await who(instance))[0], signal.SIGKILL) if kind == "process" else None
    if kind == "process":
        await instance.until(lambda s: s["payload"]["replicas"]["usable"] < REPLICAS)
        await complete(instance)
        assert await models(instance) == {"version 2"}


async def test_a_trained_model_predicts_in_the_worker_until_a_model_is_built(launch: Launch, kind: str, tmp_path: Path):
    instance = await ready(launch, kind)
    await instance.run("train")
    assert await models(instance) == {"built trained"}
    assert len(await who(instance)) == 1
    await instance.run("saveModel", str(tmp_path))
    await instance.run("buildModel", str(tmp_path))
    await complete(instance)
    assert (await models(instance), len(await who(instance))) == ({"built trained"}, REPLICAS)


async def test_a_training_refuses_predictions_unless_the_class_says_otherwise(launch: Launch, gate: Gate):
    instance = await ready(launch, gate=str(gate.path))
    await instance.call("train")
    assert "streamPredict" not in instance.payload["possible"]
    with pytest.raises(OperationRefused):
        await instance.stream({"a": ""})
    gate.tell("g")
    await instance.until("ready")


@pytest.mark.parametrize("replicas", [1, REPLICAS])
async def test_predictions_continue_while_a_model_trains_and_have_the_new_model_afterwards(
    launch: Launch, gate: Gate, kind: str, replicas: int
):
    instance = await ready(launch, kind, "Serving", replicas, gate=str(gate.path))
    await complete(instance, replicas)
    trained = "built"
    for _ in range(2):
        await instance.call("train")
        assert "streamPredict" in instance.payload["possible"]
        assert instance.controller.can_accept_work
        assert await models(instance) == {trained}
        assert instance.state == "training"
        gate.tell("g")
        await instance.until("ready")
        trained += " trained"
        assert await models(instance) == {trained}
        await complete(instance, replicas)
        assert await models(instance) == {trained}
        assert len(await who(instance)) == replicas


async def test_a_training_begins_while_predictions_are_in_flight(launch: Launch, gate: Gate):
    instance = await ready(launch, model="Serving", gate=str(gate.path))
    async with Load(instance) as load:
        await load.more()
        await instance.call("train")
        await load.more()
        gate.tell("g")
        await instance.until(lambda status: status["state"] in ("ready", "predicting"))
        await load.more(8)  # those that were in flight
        assert await models(instance) == {"built trained"}


async def test_a_replica_that_dies_costs_its_own_predictions_and_is_replaced(launch: Launch, gate: Gate):
    instance = await ready(launch)
    before = await who(instance)
    waiting = asyncio.ensure_future(instance.stream({"wait": str(gate.path)}))
    await asyncio.sleep(0)
    # It goes to the other replica, which has nothing to do.
    with pytest.raises(WorkerDied):
        await instance.stream({"die": ""})
    assert not waiting.done()
    gate.tell("g")
    assert (await waiting)["wait"]["who"] in before
    await complete(instance)
    assert len(await who(instance) - before) == 1
    assert instance.state in ("ready", "predicting")


async def test_a_prediction_that_may_be_repeated_is_repeated_once(launch: Launch, tmp_path: Path):
    instance = await ready(launch, model="Serving")
    before = await who(instance)
    assert (await instance.stream({"die once": str(tmp_path / "died")}))["die once"]["who"] in before
    await complete(instance)
    with pytest.raises(WorkerDied):
        await instance.stream({"die": ""})
    await complete(instance)
    assert not before & await who(instance)


async def test_no_answer_is_lost_or_wrong_while_replicas_are_killed_one_after_the_other(launch: Launch):
    instance = await ready(launch, model="Serving")
    async with Load(instance) as load:
        for _ in range(4):
            await load.more()
            os.kill(pids({load.answers[-1]["who"]})[0], signal.SIGKILL)
            await instance.until(lambda status: status["payload"]["replicas"]["usable"] < REPLICAS)
            await complete(instance)
        await load.more()
    assert {answer["model"] for answer in load.answers} == {"built"}


async def test_replicas_that_never_get_the_model_are_given_up_and_the_worker_predicts(launch: Launch, tmp_path: Path):
    instance = await ready(launch)
    (tmp_path / "model").write_text("saved")
    await instance.run("buildModel", str(tmp_path))
    await complete(instance)
    (tmp_path / "model").unlink()
    for pid in pids(await who(instance)):
        os.kill(pid, signal.SIGKILL)
    await instance.until(lambda status: status["payload"]["replicas"]["usable"] == 0)
    assert await models(instance) == {"saved"}


@pytest.mark.parametrize("operation", ["reset", "shutdown"])
async def test_what_a_replica_has_begun_is_answered_before_a_reset_or_a_shutdown(
    launch: Launch, gate: Gate, operation: str
):
    instance = await ready(launch)
    waiting = [asyncio.ensure_future(instance.stream({"wait": str(gate.path)})) for _ in range(REPLICAS)]
    await asyncio.sleep(0)
    await instance.call(operation)
    gate.tell("g" * REPLICAS)
    assert all("who" in answer["wait"] for answer in await asyncio.gather(*waiting))
    await instance.until("started" if operation == "reset" else "terminated")


async def test_a_reset_leaves_no_replica_and_the_next_instance_has_its_own(launch: Launch):
    instance = await ready(launch, model="Serving")
    before = await who(instance)
    await instance.run("train")
    await instance.call("reset")
    await instance.until("started")
    assert all(worker.exited for worker in instance.workers[: 1 + REPLICAS])
    await instance.ready()
    await complete(instance)
    assert (await models(instance), len(await who(instance) - before)) == ({"built"}, REPLICAS)
    await instance.call("shutdown")
    await instance.until("terminated")
    assert all(worker.exited for worker in instance.workers)
