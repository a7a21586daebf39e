"""The application that serves the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from mistk_service import __version__
from mistk_service.web.access import AccessRole, principal_of
from mistk_service.web.error_responses import ErrorAnswer

#: The page loads its own files and connects only to its own origin. It has no inline script or style.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        # A PDF file of a run.
        "frame-src blob:",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)

_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Revalidated by ETag, so that no browser keeps using an old page after an upgrade of the service.
    "Cache-Control": "no-cache",
}

_FOLDER = Path(__file__).parent / "static"


class Page:
    """ASGI application: the page at ``/``, its files below ``/static``, and the facts about the service at ``/page/about``.

    Args:
        about: returns facts about the service, for the visitor who sends a request.
        answer: converts an error to a response.
    """

    def __init__(self, about: Callable[[Scope], dict[str, Any]], answer: ErrorAnswer) -> None:
        self._about = about
        self._answer = answer
        self._files = StaticFiles(directory=_FOLDER)
        self._compressed = GZipMiddleware(self._serve, compresslevel=5)

    @staticmethod
    def serves(path: str) -> bool:
        """Return whether a path belongs to the page."""
        return path == "/" or path.startswith(("/static/", "/page/"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        await self._compressed(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._respond(scope)
        except HTTPException as error:
            response = self._answer(error, scope)
        response.headers.update(_HEADERS)
        await response(scope, receive, send)

    async def _respond(self, scope: Scope) -> Response:
        path: str = scope["path"]
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405, f"{path} takes GET only.", {"Allow": "GET, HEAD"})
        if path == "/page/about":
            return JSONResponse({"version": __version__} | visitor(scope) | self._about(scope))
        if path == "/":
            return await self._files.get_response("index.html", scope)
        return await self._files.get_response(path.removeprefix("/static/"), scope)


def visitor(scope: Scope) -> dict[str, str | None]:
    """Return the name and the role of the sender of a request. Without a log-in, everything is allowed."""
    principal = principal_of(scope)
    if principal is None:
        return {"user": None, "role": AccessRole.ADMIN.label}
    return {"user": principal.name, "role": principal.role.label}
