"""Workers without a controller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from mistk_service.workers.host.socket_worker import LINGER
from mistk_service.workers.messages import Done, Loaded, Run
from tests.support.harness import TIMEOUT, Gate, WorkerUnderTest


@pytest.fixture
async def hire(gate: Gate, isolated: str) -> AsyncIterator[Callable[..., Any]]:
    """Returns ``await hire(model, kind, properties)``: a worker that has its model, and is cleared away after the test."""
    workers: list[WorkerUnderTest] = []

    async def hire(
        model: str,
        kind: str = "process",
        properties: dict[str, Any] | None = None,
        *,
        loaded: bool = True,
        linger: float = LINGER,
    ) -> WorkerUnderTest:
        worker = WorkerUnderTest(model, isolated if kind == "process" else kind, linger)
        workers.append(worker)
        await worker.worker.start()
        if loaded:
            await worker.until(Loaded)
        if properties is not None:
            worker.send(Run(worker.next_id(), "do_initialize", ([], properties, {})))
            await worker.until(Done)
        return worker

    yield hire
    gate.close()
    for worker in workers:
        worker.worker.kill()
        async with asyncio.timeout(TIMEOUT):
            await worker.worker.wait_exited()
