"""The tracking server inside an application that serves other things, which must not wait for it.

Loading a database library takes longer than everything else that a container does before it listens. So the tracking server
is made on a thread of its own, and whoever asks for it before it is ready waits, and nobody else.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from mistk_service.errors import MistkError
from mistk_service.tracking.errors import StoreUnavailable

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["DeferredApp", "is_tracking_path"]

#: Paths of the tracking server outside ``/api`` and ``/ajax-api``.
_OTHERS = frozenset({"/health", "/version", "/get-artifact", "/model-versions/get-artifact"})

#: Seconds after which a server that could not be made is tried again, when somebody asks for it.
_RETRY = 5.0


def is_tracking_path(path: str) -> bool:
    """Return whether ``path`` belongs to the tracking server."""
    path = "/" + path.lstrip("/")
    return path in _OTHERS or path.startswith(("/api/2.0/", "/api/3.0/", "/ajax-api/", "/api/v4/projects/"))


class DeferredApp:
    """An ASGI application that is made in the background, from the moment this object is.

    Where that fails, every request is answered with 503 and the reason, and it is tried again some seconds later.

    Args:
        make: makes the application; called on a thread, again after a failure.
        clock: seconds that only go up.
        retry: seconds after a failure during which requests are answered with it, before it is tried again.
    """

    def __init__(
        self, make: Callable[[], ASGIApp], clock: Callable[[], float] = time.monotonic, *, retry: float = _RETRY
    ) -> None:
        self._make = make
        self._clock = clock
        self._retry = retry
        self._ended = 0.0
        self._application = self._begin()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, once the application is there; the lifespan stays with the application around it."""
        if self._application.done() and self._application.exception() and self._clock() - self._ended >= self._retry:
            self._application = self._begin()
        try:
            application = await asyncio.wrap_future(self._application)
        except MistkError as error:
            await _refuse(send, StoreUnavailable(f"Tracking is not available: {error}", retry_after=_RETRY))
        except Exception as error:  # noqa: BLE001 - the client gets an answer, whatever it is
            await _refuse(send, error)
        else:
            await application(scope, receive, send)

    def wait(self, timeout: float | None = None) -> None:
        """Block until the application is made.

        Raises:
            TimeoutError: it was not within ``timeout`` seconds.
            Exception: what ``make`` raised.
        """
        self._application.result(timeout)

    def _begin(self) -> Future[ASGIApp]:
        made: Future[ASGIApp] = Future()
        # A client that goes away while it waits must not take the application from the others.
        made.set_running_or_notify_cancel()
        threading.Thread(target=self._attempt, args=(made,), name="tracking-start", daemon=True).start()
        return made

    def _attempt(self, made: Future[ASGIApp]) -> None:
        try:
            application = self._make()
        except BaseException as error:  # noqa: BLE001 - it is kept, and told to those who ask
            self._ended = self._clock()
            made.set_exception(error)
        else:
            made.set_result(application)


async def _refuse(send: Send, error: Exception) -> None:
    # The server's package is what takes long to load; here it has been loaded, or cannot be.
    from mistk_service.tracking.server.replies import send_error

    await send_error(send, error)
