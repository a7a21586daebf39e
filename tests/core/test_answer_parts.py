"""Answers in parts: each part arrives as soon as it is produced, and a slow reader delays only its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mistk_service.core.answer_parts import AnswerParts
from mistk_service.core.events import PredictionAnswered, PredictionWithdrawn
from mistk_service.errors import HookFailed, InvalidRequest, ServiceBusy, WorkerDied
from mistk_service.workers.messages import PARTS_AHEAD
from tests.support.harness import TIMEOUT, Instance, of_type, records_of

pytestmark = pytest.mark.anyio

Launch = Callable[..., Any]


async def ready(launch: Launch, kind: str, model: str = "InParts", **options: Any) -> Instance:
    instance: Instance = await launch(f"in_parts:{model}", kind, **options)
    return await instance.ready()


async def begin(instance: Instance, **data: str) -> AnswerParts:
    """Return an answer in parts, once its first part is there."""
    answer = await instance.controller.predict(records_of(data))
    assert isinstance(answer, AnswerParts)
    return answer


async def read(parts: AnswerParts) -> list[Any]:
    async with asyncio.timeout(TIMEOUT):
        return [part.value() async for part in parts]


def numbers(count: int) -> list[dict[str, int]]:
    return [{"part": number} for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, PARTS_AHEAD - 1, PARTS_AHEAD, PARTS_AHEAD + 1, 500])
async def test_every_part_arrives_once_and_in_order(launch: Launch, kind: str, count: int):
    instance = await ready(launch, kind)
    assert await read(await begin(instance, n=str(count))) == numbers(count)
    assert instance.state == "ready"
    assert of_type(instance.events, PredictionAnswered)[-1].succeeded


async def test_the_first_part_arrives_while_the_model_produces_the_others(launch: Launch, kind: str):
    instance = await ready(launch, kind)
    parts = await begin(instance, n="-1", name="endless")
    assert (await anext(parts)).value() == {"part": 0}
    assert instance.controller.view.in_flight == 1
    parts.close()
    await instance.until("ready")


async def test_many_answers_are_produced_side_by_side_and_none_is_merged(launch: Launch, kind: str):
    instance = await ready(launch, kind)
    answers = await asyncio.gather(*(begin(instance, n="40") for _ in range(64)))
    assert await asyncio.gather(*map(read, answers)) == [numbers(40)] * 64


async def test_a_reader_that_stops_reading_delays_nobody_else(launch: Launch, kind: str):
    instance = await ready(launch, kind)
    slow = await begin(instance, n="-1", name="slow")
    assert await read(await begin(instance, n="300", name="fast")) == numbers(300)
    status = await instance.until(lambda status: status["payload"].get("closed") == "fast")
    assert status["payload"]["produced"] == {"slow": PARTS_AHEAD, "fast": 300}
    slow.close()
    await instance.until("ready")


async def test_a_generator_whose_reader_has_gone_is_closed(launch: Launch, kind: str):
    instance = await ready(launch, kind)
    parts = await begin(instance, n="-1", name="left")
    parts.close()
    await instance.until(lambda status: status["payload"].get("closed") == "left" and status["state"] == "ready")
    assert of_type(instance.events, PredictionWithdrawn)
    assert instance.controller.view.in_flight == 0


async def test_a_request_that_is_cancelled_before_its_first_part_is_closed(launch: Launch, kind: str):
    instance = await ready(launch, kind)
    futures = [instance.controller.predict(records_of({"n": "-1", "name": str(n)})) for n in range(8)]
    for future in futures:
        future.cancel()
    # The model may only go on with these parts after it has heard of the others.
    assert await read(await begin(instance, n="100")) == numbers(100)
    await instance.heard()
    assert instance.controller.view.in_flight == 0


@pytest.mark.parametrize(("then", "error"), [("raise", HookFailed), ("refuse", InvalidRequest)])
@pytest.mark.parametrize("at", [0, 1, 20])
async def test_an_error_comes_after_the_parts_before_it(
    launch: Launch, kind: str, then: str, error: type[Exception], at: int
):
    instance = await ready(launch, kind)
    if at == 0:
        with pytest.raises(error, match=f"told to {then}"):
            await begin(instance, n="-1", at="0", then=then)
    else:
        parts = await begin(instance, n="-1", at=str(at), then=then)
        assert [(await anext(parts)).value() for _ in range(at)] == numbers(at)
        with pytest.raises(error, match=f"told to {then}"):
            await anext(parts)
    assert instance.state == "ready"
    assert await read(await begin(instance, n="2")) == numbers(2)


async def test_the_death_of_the_worker_ends_every_answer(launch: Launch):
    instance = await ready(launch, "process")
    answers = [await begin(instance, n="-1") for _ in range(3)]
    await begin(instance, n="-1", at="1", then="exit")
    for parts in answers:
        with pytest.raises(WorkerDied):
            await read(parts)
    assert instance.state == "failed"


@pytest.mark.parametrize("operation", ["reset", "shutdown"])
async def test_a_reset_and_a_shutdown_end_every_answer(launch: Launch, kind: str, operation: str):
    instance = await ready(launch, kind)
    answers = [await begin(instance, n="-1") for _ in range(3)]
    await instance.call(operation)
    for parts in answers:
        with pytest.raises(ServiceBusy):
            await read(parts)
    await instance.until("started" if operation == "reset" else "terminated")


async def test_a_hook_may_answer_either_way(launch: Launch, kind: str):
    instance = await ready(launch, kind, "EitherWay")
    assert await instance.stream({"a": ""}) == {"whole": True}
    assert await read(await begin(instance, n="30")) == numbers(30)
