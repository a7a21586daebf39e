"""The outermost check: refuses ambiguous and cross-site requests, and adds security headers to every response."""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
from collections.abc import Mapping, Sequence

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mistk_service.logs import request_id
from mistk_service.web.error_responses import ErrorAnswer
from mistk_service.web.gate.origins import Origins
from mistk_service.web.request_headers import headers_of
from mistk_service.web.server.config import PROTECTION

#: The default policy forbids everything in a browser. A page has its own policy.
_POLICY = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

#: The default headers of every answer, with names in lower case as ASGI requires.
_SECURITY_HEADERS = (*PROTECTION, (b"content-security-policy", _POLICY))

#: The form of a client's id of its request.
_REQUEST_ID = re.compile(rb"[\w.:+/=@-]{1,128}", re.ASCII)

#: The ids of other requests: a prefix of the process, and a number.
_RUN, _numbers = secrets.token_hex(4).encode(), itertools.count(1)

#: "Policy violation", the code that refuses a WebSocket; before the handshake it becomes a 403.
_POLICY_VIOLATION = 1008

_SHUTTING_DOWN = (
    "The service is shutting down, and ended this request before it was complete. "
    "Send it again once the service is back."
)


class RequestFilter:
    """ASGI middleware: passes on HTTP and the lifespan, but no WebSocket, no ambiguous request and no request of another site.

    It adds security headers to every answer, and answers with 503 a request that the server cancels when it shuts down.
    """

    def __init__(self, app: ASGIApp, host: str, allowed_hosts: Sequence[str], answer: ErrorAnswer) -> None:
        self._app = app
        self._origins = Origins(host, allowed_hosts)
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False
        headers = headers_of(scope)
        given = headers.get(b"x-request-id", b"")
        number = given if _REQUEST_ID.fullmatch(given) else b"%s-%x" % (_RUN, next(_numbers))
        scope["mistk.request_id"] = name = number.decode("ascii")
        request_id.set(name)

        async def protecting_send(message: Message) -> None:
            nonlocal started
            if not started:
                started = True
                message = {**message, "headers": _with_protection(message.get("headers", ()), number)}
            await send(message)

        if (reason := _ambiguity(scope, headers)) is not None:
            # The connection ends, since it is unclear where this request ends and the next one begins.
            app: ASGIApp = self._answer(HTTPException(400, reason, {"Connection": "close"}), scope)
        elif (reason := self._origins.objection(scope["method"], headers)) is not None:
            app = self._answer(HTTPException(403, reason), scope)
        else:
            app = self._app
        try:
            await app(scope, receive, protecting_send)
        except asyncio.CancelledError:
            # Only the server cancels a request, when the time for requests in flight is over. Otherwise it would log a
            # traceback and answer in plain text. An answer that has begun can only be truncated.
            if not started:
                cut_off = self._answer(HTTPException(503, _SHUTTING_DOWN, {"Connection": "close"}), scope)
                await cut_off(scope, receive, protecting_send)


def _ambiguity(scope: Scope, headers: Mapping[bytes, bytes]) -> str | None:
    """Return why a proxy and this server might read a request differently, or None."""
    if len(headers) < len(scope["headers"]) and [name for name, _ in scope["headers"]].count(b"host") > 1:
        return "The request has several Host headers; expected one."
    if b"host" not in headers and scope.get("http_version") == "1.1":
        return "The request has no Host header; expected one."
    if b"transfer-encoding" in headers and b"content-length" in headers:
        return "The request has both Content-Length and Transfer-Encoding; expected one of them."
    return None


def _with_protection(headers: Sequence[tuple[bytes, bytes]], number: bytes) -> list[tuple[bytes, bytes]]:
    present = dict(headers)
    return [*headers, (b"x-request-id", number), *[header for header in _SECURITY_HEADERS if header[0] not in present]]
