"""The start of the service: ``/healthz``, ``/livez`` and ``/startupz`` are served while the application is still loading.

The application takes most of the start-up time. It is loaded on a thread, and all other requests wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.doors.ops.health import liveness, startup
from mistk_service.web.server.config import PROTECTION

#: The responses of the probes before the application is loaded.
_PROBES: dict[str, Callable[[], Response]] = {
    "/healthz": liveness,
    "/livez": liveness,
    "/startupz": lambda: startup(started=False),
}


class LoadingApp:
    """An ASGI application that loads another one on a thread, and forwards HTTP requests to it.

    Args:
        make: returns the other application.
    """

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._making: asyncio.Future[ASGIApp] | None = None
        self._app: ASGIApp | None = None

    def load(self) -> None:
        """Begin to load the application, unless that has begun."""
        if self._making is None:
            self._making = asyncio.get_running_loop().run_in_executor(None, self._make)

    async def made(self) -> None:
        """Wait until the application is loaded.

        Raises:
            Exception: raised by ``make``.
        """
        self.load()
        assert self._making is not None
        self._app = await asyncio.shield(self._making)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if self._app is None:
            if scope["method"] in ("GET", "HEAD") and (probe := _PROBES.get(scope["path"])) is not None:
                response = probe()
                response.raw_headers += PROTECTION
                await response(scope, receive, send)
                return
            await self.made()
            assert self._app is not None
        await self._app(scope, receive, send)
