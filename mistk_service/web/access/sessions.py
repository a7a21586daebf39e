"""Log-in with a browser: a form, a cookie in place of the credentials, and log-out."""

from __future__ import annotations

import base64
import hashlib
import html
import secrets
import time
from urllib.parse import parse_qs

from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Receive, Scope

from mistk_service.errors import NotAllowed
from mistk_service.web.prefix import prefix_of
from mistk_service.web.request_body import read_body
from mistk_service.web.request_headers import headers_of

#: The cookie of a session.
COOKIE = "mistk_session"

#: Seconds that a session lasts, and the maximum number of sessions.
_LIFETIME, _MOST = 12 * 3600, 10_000

#: The largest form, in bytes.
_FORM = 16 * 1024

_STYLE = (
    "body{font:16px system-ui,sans-serif;display:grid;place-items:center;min-height:90vh;color-scheme:light dark}"
    "form{display:grid;gap:.75rem;width:20rem}input,button{font:inherit;padding:.5rem}[role=alert]{color:#c22}"
)

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in</title><style>{style}</style></head>
<body><main><h1>Log in</h1>{error}
<form method="post" action="{prefix}/login">
<label>User name <input name="username" autocomplete="username"></label>
<label>Password, or a token without a user name
<input name="password" type="password" required autocomplete="current-password"></label>
<button>Log in</button></form></main></body></html>
"""

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; style-src "
    f"'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'",
    "Cache-Control": "no-store",
}


class Sessions:
    """The sessions of browsers. Each keeps the credentials that it was opened with, which are checked at every request.

    Args:
        root_path: the path below which a reverse proxy serves the application.
    """

    def __init__(self, root_path: str = "") -> None:
        self._root_path = root_path
        self._open: dict[str, tuple[float, str]] = {}

    def authorization(self, cookie: str) -> str | None:
        """Return the Authorization header of the session in a Cookie header, if there is one."""
        key = cookie_of(cookie)
        entry = self._open.get(key) if key else None
        return entry[1] if entry is not None and entry[0] > time.monotonic() else None

    async def read_form(self, scope: Scope, receive: Receive) -> str:
        """Return the Authorization header for a submitted log-in form."""
        fields = parse_qs((await read_body(scope, receive, _FORM)).decode("utf-8", "replace"), keep_blank_values=True)
        name, password = (fields.get(key, [""])[0] for key in ("username", "password"))
        if not name:
            return f"Bearer {password}"
        return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"

    def begin(self, scope: Scope, authorization: str) -> Response:
        """Open a session, and return the response that sets its cookie."""
        now = time.monotonic()
        self._open = {key: entry for key, entry in self._open.items() if entry[0] > now}
        if len(self._open) >= _MOST:
            del self._open[next(iter(self._open))]
        key = secrets.token_urlsafe(32)
        self._open[key] = now + _LIFETIME, authorization
        response = RedirectResponse(f"{self._prefix(scope)}/", 303)
        self._set_cookie(response, scope, key, _LIFETIME)
        return response

    def end(self, scope: Scope, cookie: str) -> Response:
        """Close a session, and return the response that deletes its cookie."""
        self._open.pop(cookie_of(cookie) or "", None)
        response = RedirectResponse(f"{self._prefix(scope)}/login", 303)
        self._set_cookie(response, scope, "", 0)
        return response

    def form(self, scope: Scope, status: int = 200, error: str = "") -> Response:
        """Return the page with the log-in form."""
        shown = f'<p role="alert">{html.escape(error)}</p>' if error else ""
        page = _PAGE.format(style=_STYLE, error=shown, prefix=html.escape(self._prefix(scope)))
        return HTMLResponse(page, status, _HEADERS)

    def to_form(self, scope: Scope) -> Response:
        """Return the redirection to the log-in form."""
        return RedirectResponse(f"{self._prefix(scope)}/login", 303, {"Cache-Control": "no-store"})

    def _prefix(self, scope: Scope) -> str:
        return prefix_of(scope, self._root_path)

    def _set_cookie(self, response: Response, scope: Scope, value: str, seconds: int) -> None:
        secure = scope.get("scheme") == "https" or headers_of(scope).get(b"x-forwarded-proto") == b"https"
        path = f"{self._prefix(scope)}/"
        response.set_cookie(COOKIE, value, seconds, path=path, secure=secure, httponly=True, samesite="strict")
        # For the page's script, which cannot read the other cookie: whether the browser is logged in.
        response.set_cookie(
            f"{COOKIE}_open", "1" if value else "", seconds, path=path, secure=secure, samesite="strict"
        )


def cookie_of(header: str) -> str | None:
    """Return the session's cookie in a Cookie header."""
    pairs = (pair.strip().partition("=") for pair in header.split(";"))
    return next((value for name, _, value in pairs if name == COOKIE), None)


def require_own_page(scope: Scope) -> None:
    """Refuse a request that changes something and whose cookie a browser may have sent for another site's page (CSRF).

    Every browser sends the origin of such a request, and a request of another site has been refused before.

    Raises:
        NotAllowed: the request does not have its origin.
    """
    has_origin = any(name in (b"origin", b"sec-fetch-site") for name, _ in scope["headers"])
    if scope["method"] not in ("GET", "HEAD") and not has_origin:
        raise NotAllowed("A request with a session's cookie needs an Origin header, which browsers send.")
