"""What every request passes first, and every answer last: it refuses ambiguous and foreign requests, and confines pages."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mistk_service.web.cross_site import Origins
from mistk_service.web.server.config import PROTECTION, Refusal

__all__ = ["Door"]

#: An answer may do nothing in a browser, unless it is a page that says itself what it needs.
_POLICY = (
    b"content-security-policy",
    b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
)


class Door:
    """ASGI middleware: refuses requests that can be read in two ways and those of foreign pages, and confines the answers.

    Args:
        app: what is protected.
        host: the address that the server listens on.
        allowed_hosts: further names that the server has; see :class:`~mistk_service.web.cross_site.Origins`.
        refusal: returns the JSON of an error.
    """

    def __init__(self, app: ASGIApp, host: str, allowed_hosts: Sequence[str], refusal: Refusal) -> None:
        self._app = app
        self._origins = Origins(host, allowed_hosts)
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def confining_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _confined(message.get("headers", ()))}
            await send(message)

        if (reason := _ambiguity(scope)) is not None:
            # The connection ends: where this request does, and another one begins, is what is not clear.
            await self._refuse(confining_send, 400, reason, (b"connection", b"close"))
        elif (reason := self._origins.objection(scope)) is not None:
            await self._refuse(confining_send, 403, reason)
        else:
            await self._app(scope, receive, confining_send)

    async def _refuse(self, send: Send, status: int, reason: str, *headers: tuple[bytes, bytes]) -> None:
        body = self._refusal(status, reason)
        length = (b"content-length", str(len(body)).encode())
        kind = (b"content-type", b"application/json")
        await send({"type": "http.response.start", "status": status, "headers": [kind, length, *headers]})
        await send({"type": "http.response.body", "body": body})


def _ambiguity(scope: Scope) -> str | None:
    """Return why a proxy and this server might read a request differently, or None."""
    names = [name for name, _ in scope["headers"]]
    hosts = names.count(b"host")
    if hosts > 1:
        return "The request has several Host headers; expected one."
    if hosts == 0 and scope.get("http_version") == "1.1":
        return "The request has no Host header; expected one."
    if b"transfer-encoding" in names and b"content-length" in names:
        return "The request has both Content-Length and Transfer-Encoding; expected one of them."
    return None


def _confined(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    present = {name.lower() for name, _ in headers}
    return [*headers, *(header for header in (*PROTECTION, _POLICY) if header[0] not in present)]
