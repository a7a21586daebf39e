"""Whether the client of a request is still there while its answer is made."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from starlette.types import Receive

from mistk_service.errors import ClientGone

__all__ = ["while_present"]

#: Seconds after which it is looked at all: what is answered sooner is answered cheaper, and spares nobody anything.
_PATIENCE = 0.05

_Answer = TypeVar("_Answer")


async def while_present(receive: Receive, answer: asyncio.Future[_Answer]) -> _Answer:
    """Return the result of ``answer``, which is cancelled when the client goes.

    Args:
        receive: of a request whose body has been read.
        answer: the answer to come.

    Raises:
        ClientGone: the client went first.
    """
    watch = _Watch(receive, answer)
    try:
        return await answer
    except asyncio.CancelledError:
        if watch.gone:
            raise ClientGone("The client closed the connection before its answer was there.") from None
        raise
    finally:
        watch.end()


class _Watch:
    """Cancels a future when the client goes."""

    def __init__(self, receive: Receive, answer: asyncio.Future[_Answer]) -> None:
        self._receive = receive
        self._answer = answer
        #: Whether the client has gone, and the future was cancelled over it.
        self.gone = False
        self._task: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE, self._begin)

    def end(self) -> None:
        """Look no more."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            # A cancelled task keeps the frame that it was cancelled in, and so this object. A reference back would make a ring
            # of the whole request, which only the collector could free.
            self._task = None

    def _begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = self._answer.cancel()
