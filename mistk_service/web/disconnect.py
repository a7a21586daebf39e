"""Cancels the work on a request when its client disconnects."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from starlette.types import Receive

from mistk_service.errors import ClientGone

#: Seconds of work after which the connection is watched; watching it costs more than shorter work.
_WATCH_AFTER = 0.05

_Answer = TypeVar("_Answer")


async def unless_disconnected(receive: Receive, answer: asyncio.Future[_Answer]) -> _Answer:
    """Return the result of ``answer``, which is cancelled when the client disconnects. The request's body has been read.

    Raises:
        ClientGone: the client disconnected first.
    """
    watch = _Watch(receive, answer)
    try:
        return await answer
    except asyncio.CancelledError:
        if watch.gone:
            raise ClientGone("The client closed the connection before the response.") from None
        raise
    finally:
        watch.end()


class _Watch:
    """Cancels a future when the client disconnects."""

    def __init__(self, receive: Receive, answer: asyncio.Future[_Answer]) -> None:
        self._receive = receive
        self._answer = answer
        #: Whether the client has disconnected and the future was cancelled for it.
        self.gone = False
        self._task: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(_WATCH_AFTER, self._begin)

    def end(self) -> None:
        """Stop watching."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            # A cancelled task keeps its frame and so this object. A reference back would create a cycle with the whole
            # request, which only the garbage collector could free.
            self._task = None

    def _begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = self._answer.cancel()
