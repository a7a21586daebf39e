"""Requests from pages of other sites are answered with MLflow's error, where the server stands alone."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.origins import Origins
from mistk_service.tracking.errors import PermissionDenied
from mistk_service.tracking.server.replies import send_error

__all__ = ["SameOrigin"]


class SameOrigin:
    """ASGI middleware: answers 403 to what a browser sends for a page of another site.

    Args:
        app: what is protected.
        host: the address that the server listens on.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._origins = Origins(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        reason = self._origins.objection(scope)
        if reason is None:
            await self._app(scope, receive, send)
        else:
            await send_error(send, PermissionDenied(reason))
