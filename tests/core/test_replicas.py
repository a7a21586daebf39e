"""Replicas only predict: each has the model as it was built, and the death of one costs its own predictions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mistk_service.errors import InvalidRequest, WorkerDied
from tests.support.harness import PATIENCE, Gate, Instance

pytestmark = pytest.mark.anyio

Launch = Callable[..., Any]

REPLICAS = 2


async def ready(launch: Launch, kind: str, replicas: int = REPLICAS) -> Instance:
    instance: Instance = await launch("replicated:Replicated", kind, replicas=replicas)
    return await instance.ready()


async def ask(instance: Instance, *names: str) -> list[Any]:
    """Ask for predictions at the same time, and return the answers."""
    answers = await asyncio.gather(*(instance.stream({name: ""}) for name in names))
    return [answer[name] for answer, name in zip(answers, names, strict=True)]


async def spread(instance: Instance) -> set[str]:
    """Wait until predictions are answered by all replicas, and return who answers."""
    async with asyncio.timeout(PATIENCE):
        while True:
            who = {answer["who"] for answer in await ask(instance, *map(str, range(8)))}
            if len(who) == REPLICAS:
                return who
            await asyncio.sleep(0.01)  # a replica may still be loading the model


async def test_predictions_are_spread_over_the_replicas_and_none_goes_to_the_worker(launch: Launch, kind: str):
    instance = await ready(launch, kind)
    who = await spread(instance)
    if kind == "process":
        assert not any(name.startswith(f"{instance.workers[0].pid}/") for name in who)
    assert {answer["built"] for answer in await ask(instance, *"abcdefgh")} == {1}
    assert instance.state == "ready"


async def test_without_replicas_the_worker_predicts(launch: Launch, kind: str):
    instance = await ready(launch, kind, replicas=0)
    assert len({answer["who"] for answer in await ask(instance, *"abcdefgh")}) == 1


async def test_replicas_take_part_in_every_update_and_a_refused_one_changes_nothing(launch: Launch, kind: str):
    instance = await ready(launch, kind)
    await spread(instance)
    for threshold in range(5):
        await instance.run("updateStreamProperties", {"threshold": threshold})
        answers = await ask(instance, *"abcdefgh")
        assert all(answer["props"] == {"threshold": threshold} for answer in answers)
    await instance.call("updateStreamProperties", {"refused": True})
    with pytest.raises(InvalidRequest):
        await instance.controller.wait_accepted()
    await instance.until("ready")
    assert len(await spread(instance)) == REPLICAS


async def test_a_trained_model_predicts_in_the_worker_that_trained_it_until_the_next_reset(launch: Launch, kind: str):
    instance = await ready(launch, kind)
    await spread(instance)
    await instance.run("train")
    answers = await ask(instance, *"abcdefgh")
    assert len({answer["who"] for answer in answers}) == 1
    assert all(answer["props"] == {"trained": True} for answer in answers)
    await instance.call("reset")
    await instance.until("started")
    await instance.ready()
    await spread(instance)


async def test_a_replica_that_dies_costs_its_own_predictions_and_is_replaced(launch: Launch, gate: Gate):
    instance = await ready(launch, "process")
    before = await spread(instance)
    waiting = asyncio.ensure_future(instance.stream({"wait": str(gate.path)}))
    await asyncio.sleep(0)
    # It goes to the other replica, which has nothing to do.
    with pytest.raises(WorkerDied):
        await instance.stream({"die": ""})
    assert not waiting.done()
    gate.tell("g")
    assert (await waiting)["wait"]["who"] in before
    assert len(await spread(instance) - before) == 1
    assert instance.state in ("ready", "predicting")


@pytest.mark.parametrize("operation", ["reset", "shutdown"])
async def test_what_a_replica_has_begun_is_answered_before_a_reset_or_a_shutdown(
    launch: Launch, gate: Gate, operation: str
):
    instance = await ready(launch, "process")
    await spread(instance)
    waiting = [asyncio.ensure_future(instance.stream({"wait": str(gate.path)})) for _ in range(REPLICAS)]
    await asyncio.sleep(0)
    await instance.call(operation)
    gate.tell("g" * REPLICAS)
    assert all("who" in answer["wait"] for answer in await asyncio.gather(*waiting))
    await instance.until("started" if operation == "reset" else "terminated")


async def test_no_replica_outlives_the_instance(launch: Launch):
    instance = await ready(launch, "process")
    await spread(instance)
    await instance.call("shutdown")
    await instance.until("terminated")
    assert all(worker.exited for worker in instance.workers)
    assert len(instance.workers) == 1 + REPLICAS
