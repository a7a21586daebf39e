"""Cancels the work on a request when its client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from starlette.types import Scope

from mistk_service.errors import ClientGone

#: The key of an ASGI scope under which the server has a function that sets what to call when the client disconnects, or
#: nothing. ASGI itself has only a message for that, and waiting for it would take a task for each request.
ON_DISCONNECT = "mistk.on_disconnect"

_Answer = TypeVar("_Answer")


async def unless_disconnected(scope: Scope, answer: asyncio.Future[_Answer]) -> _Answer:
    """Return the result of ``answer``, which is cancelled when the client of the request disconnects.

    Raises:
        ClientGone: the client disconnected first.
    """
    on_disconnect: Callable[[Callable[[], object] | None], None] = scope.get(ON_DISCONNECT, _ignore)
    loop = asyncio.get_running_loop()
    gone = False

    def cancel() -> None:
        nonlocal gone
        gone = answer.cancel()

    # In a later turn of the event loop: a task that is cancelled before it has begun does not clean up.
    on_disconnect(lambda: loop.call_soon(cancel))
    try:
        return await answer
    except asyncio.CancelledError:
        if gone:
            raise ClientGone("The client closed the connection before the response.") from None
        raise
    finally:
        on_disconnect(None)


def _ignore(_: Callable[[], None] | None) -> None:
    """Do nothing, for a server that does not report disconnections."""
