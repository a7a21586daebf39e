"""Watching for a disconnect leaves no garbage."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from starlette.types import Message

from mistk_service.errors import ClientGone
from mistk_service.web.disconnect import unless_disconnected


class Request:
    """A request whose client is looked at: its answer comes, or its client goes, once that has begun."""

    def __init__(self, *, leaves: bool) -> None:
        self.answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.leaves = leaves

    async def receive(self) -> Message:
        if self.leaves:
            return {"type": "http.disconnect"}
        self.answer.set_result(1)
        await asyncio.Event().wait()
        raise AssertionError


@pytest.mark.parametrize("leaves", [False, True], ids=["answered", "client gone"])
def test_a_request_that_was_watched_is_freed_without_the_collector(leaves: bool) -> None:
    async def serve() -> weakref.ref[Request]:
        request = Request(leaves=leaves)
        try:
            assert await unless_disconnected(request.receive, request.answer) == 1
        except ClientGone:
            assert leaves
        return weakref.ref(request)

    async def main() -> bool:
        freed = await asyncio.create_task(serve())
        for _ in range(3):
            await asyncio.sleep(0)  # the task that looked ends
        return freed() is None

    gc.disable()
    try:
        assert asyncio.run(main())
    finally:
        gc.enable()
