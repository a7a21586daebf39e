"""Hooks that are coroutines or asynchronous generators work like ordinary ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mistk_service.core.answer_parts import AnswerParts
from mistk_service.errors import HookFailed, InvalidRequest
from mistk_service.kinds.predictions import Answer, Tensor, Tensors
from tests.support.harness import TIMEOUT, Instance, records_of, version_of

pytestmark = pytest.mark.anyio

Launch = Callable[..., Any]


async def parts_of(instance: Instance, **data: str) -> AnswerParts:
    answer = await instance.controller.predict(records_of(data))
    assert isinstance(answer, AnswerParts)
    return answer


async def test_a_training_pauses_is_saved_and_continues(launch: Launch, kind: str, tmp_path: Path):
    instance: Instance = await launch("asynchronous:Asynchronous", kind)
    await instance.ready()
    await instance.call("train")
    await instance.until(lambda status: status["payload"].get("progress", {}).get("done", 0) > 2)
    await instance.call("pause")
    await instance.until("paused")
    saving = await instance.call("saveModel", str(tmp_path))
    await instance.until("paused", after=version_of(saving))
    assert (tmp_path / "model.txt").read_text() == "saved"
    resumed = await instance.call("resumeTraining")
    assert resumed["state"] == "training"


async def test_an_asynchronous_generator_answers_in_parts_and_is_closed(launch: Launch, kind: str):
    instance: Instance = await launch("asynchronous:Asynchronous", kind)
    await instance.ready()
    async with asyncio.timeout(TIMEOUT):
        parts = [part.value() async for part in await parts_of(instance, n="40")]
    assert parts == [{"part": number, "details": False} for number in range(40)]
    await instance.until(lambda status: status["payload"].get("closed"))

    endless = await parts_of(instance, n="1000000")
    assert (await anext(endless)).value()["part"] == 0
    endless.close()
    await instance.until("ready")

    with pytest.raises(HookFailed, match="told to raise"):
        async for _ in await parts_of(instance, n="5", raise_at="2"):
            pass


async def test_tensors_and_refusals_pass_through(launch: Launch, kind: str):
    instance: Instance = await launch("asynchronous:Asynchronous", kind)
    await instance.call("initialize", {}, {"wrong": True})
    with pytest.raises(InvalidRequest, match="told to refuse"):
        await instance.controller.wait_accepted()
    await instance.until("started")
    await instance.ready()
    numbers = np.arange(3.0)
    tensor = Tensor("x", "float64", (3,), memoryview(numbers.tobytes()))
    answer = await instance.controller.predict(Tensors((tensor,)))
    assert isinstance(answer, Answer)
    assert bytes(answer.tensors()[0].data) == numbers.tobytes()


async def test_a_hook_that_awaits_a_cancelled_task_has_failed_and_its_worker_lives(launch: Launch, kind: str):
    instance: Instance = await launch("asynchronous:Asynchronous", kind)
    await instance.call("initialize", {}, {"cancelled": True})
    failed = await instance.until("failed")
    assert failed["payload"]["error"]["message"] == "the hook awaited a task that was cancelled"


async def test_a_coroutine_without_details_answers_merged_requests(launch: Launch, kind: str):
    instance: Instance = await launch("asynchronous:Whole", kind)
    await instance.ready()
    answers = await asyncio.gather(*(instance.stream({"a": f"text {number}"}) for number in range(10)))
    assert answers == [{"a": f"TEXT {number}"} for number in range(10)]
