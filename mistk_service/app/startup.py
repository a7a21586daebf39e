"""The first moments of the service: it says that it is alive while the rest of the application is still being loaded.

Connexion and what it brings take most of the time of a start. They are loaded on a thread; whoever asks for more than a sign
of life meanwhile waits for them, and is answered then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.doors.ops.health import ALIVE
from mistk_service.web.server.config import PROTECTION

__all__ = ["Opening"]


class Opening:
    """An ASGI application in place of one that is made on a thread, from the moment this object is. It takes HTTP alone.

    Args:
        make: makes the application.
    """

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._making = asyncio.get_running_loop().run_in_executor(None, _start, make)
        self._app: ASGIApp | None = None

    async def made(self) -> None:
        """Wait until the application is there; raise what went wrong with it."""
        self._app = await asyncio.shield(self._making)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if self._app is None:
            if scope["path"] == "/healthz" and scope["method"] in ("GET", "HEAD"):
                await _say_alive(send)
                return
            await self.made()
            assert self._app is not None
        await self._app(scope, receive, send)


def _start(make: Callable[[], ASGIApp]) -> ASGIApp:
    """On a thread: make the application and let it start, at which Connexion builds its routers and validators."""
    app = make()
    asyncio.run(_go_through_lifespan(app))
    return app


async def _go_through_lifespan(app: ASGIApp) -> None:
    messages = iter(({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}))

    async def receive() -> dict[str, str]:
        return next(messages)

    async def send(message: object) -> None:
        pass

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)


async def _say_alive(send: Send) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(ALIVE)).encode()), *PROTECTION]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ALIVE})
