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
    on_disconnect: Callable[[Callable[[], None] | None], None] = scope.get(ON_DISCONNECT, _ignore)
    gone = False

    def cancel() -> None:
        nonlocal gone
        gone = answer.cancel()

    on_disconnect(cancel)
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
