"""The edge of the application: the kinds of traffic that it takes, and an answer for a request that is cut off."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mistk_service.doors.mistk.problems import service_error

__all__ = ["Edge"]

#: "Policy violation", the code for a WebSocket that is not wanted; before the handshake it becomes a 403.
_NOT_WANTED = 1008


class Edge:
    """ASGI middleware: passes HTTP and the lifespan on, refuses WebSockets, and answers a request that is cut off with 503.

    Args:
        app: the rest of the application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _NOT_WANTED})
        else:
            await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noting_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noting_send)
        except asyncio.CancelledError:
            # Only the server cancels a request: at its end, when the time for those in flight is over. Let through, it would
            # log a traceback, and answer in plain text. An answer that has begun can only be broken off.
            if not begun:
                await _CUT_OFF(scope, receive, send)


_CUT_OFF = service_error(
    503,
    "The service is shutting down, and ended this request before it was complete. Send it again once the service is back.",
    headers={"Connection": "close"},
)
