"""The tracking server inside another application, which does not wait for it.

Loading a database library takes longer than everything else that an application does before it listens. So the tracking server
is created on a separate thread. Only requests to it wait until it is ready.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from mistk_service.deadline import Deadline
from mistk_service.errors import MistkError
from mistk_service.tracking.errors import StoreUnavailable

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

#: Paths of the tracking server outside ``/api`` and ``/ajax-api``.
_OTHERS = frozenset({"/health", "/version", "/get-artifact", "/model-versions/get-artifact", "/mlflow"})

#: Seconds after a failure before a request makes another attempt to create the server.
_RETRY = 5.0


def is_tracking_path(path: str) -> bool:
    """Return whether ``path`` belongs to the tracking server."""
    path = "/" + path.lstrip("/")
    return path in _OTHERS or path.startswith(("/mlflow/", "/api/2.0/", "/api/3.0/", "/ajax-api/", "/api/v4/projects/"))


class DeferredApp:
    """An ASGI application that is created in the background, from the moment this object exists.

    If that fails, every request is answered with 503 and the reason, and the next attempt is made some seconds later.

    Args:
        make: creates the application; called on a thread, again after a failure.
        clock: a monotonic clock, in seconds.
        retry: seconds after a failure before the next attempt; until then requests are answered with the failure.
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
        """Serve a request as soon as the application is ready. The lifespan belongs to the surrounding application."""
        if self._application.done() and self._application.exception() and self._clock() - self._ended >= self._retry:
            self._application = self._begin()
        try:
            application = await asyncio.wrap_future(self._application)
        except MistkError as error:
            await _refuse(
                scope, receive, send, StoreUnavailable(f"Tracking is not available: {error}", retry_after=_RETRY)
            )
        except Exception as error:  # noqa: BLE001 - the client gets a response in any case
            await _refuse(scope, receive, send, error)
        else:
            await application(scope, receive, send)

    def close(self, deadline: Deadline) -> None:
        """Wait for the thread that creates the application."""
        deadline.join(self._thread)

    def _begin(self) -> Future[ASGIApp]:
        made: Future[ASGIApp] = Future()
        # A client that disconnects while it waits must not cancel the application for the others.
        made.set_running_or_notify_cancel()
        self._thread = threading.Thread(target=self._attempt, args=(made,), name="tracking-start", daemon=True)
        self._thread.start()
        return made

    def _attempt(self, made: Future[ASGIApp]) -> None:
        try:
            application = self._make()
        except BaseException as error:  # noqa: BLE001 - it is stored, and raised for each request
            self._ended = self._clock()
            made.set_exception(error)
        else:
            made.set_result(application)


async def _refuse(scope: Scope, receive: Receive, send: Send, error: Exception) -> None:
    # By now, the server's package has been loaded, or cannot be.
    from mistk_service.tracking.server.replies import error_response

    await error_response(error)(scope, receive, send)
