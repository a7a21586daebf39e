"""The path below which a reverse proxy serves the application."""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.web.request_headers import headers_of

_PREFIX = re.compile(rb"(/[\w.~-]+)+", re.ASCII)


def prefix_of(scope: Scope, root_path: str) -> str:
    """Return the prefix of the application's paths for a client, such as ``/models/digits``, or "".

    ``X-Forwarded-Prefix``, which the proxy sends, overrides the setting unless it is not a plain path.
    """
    given = headers_of(scope).get(b"x-forwarded-prefix", b"").rstrip(b"/")
    return given.decode("ascii") if _PREFIX.fullmatch(given) else root_path


class Prefix:
    """ASGI middleware: removes the prefix from the path of a request, if the proxy has not removed it.

    Args:
        app: the application below the prefix.
        root_path: the prefix, without a slash at the end.
    """

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app = app
        self._root = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http" and scope["path"].startswith(f"{self._root}/"):
            raw = scope.get("raw_path", b"")
            scope = {
                **scope,
                "path": scope["path"].removeprefix(self._root),
                "raw_path": raw.removeprefix(self._root.encode("ascii")),
            }
        await self._app(scope, receive, send)
