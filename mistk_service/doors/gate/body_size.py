"""The limit on request bodies, enforced before anything reads them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.doors.mistk.problems import service_error
from mistk_service.web.contract.bodies import replayed

__all__ = ["BodyLimit"]

#: How much of a body that was refused is still taken, and for how long.
_DRAIN_BYTES, _DRAIN_SECONDS = 256 * 1024 * 1024, 2.0

#: The headers that say how long a body is.
_FRAMING = (b"content-length", b"transfer-encoding")


class BodyLimit:
    """ASGI middleware: answers 413 to a body over the limit, by its announced length or else as soon as it has passed it.

    Args:
        app: what is limited.
        limit: in bytes.
        limits: those of single paths, in bytes; the smaller one counts.
    """

    def __init__(self, app: ASGIApp, limit: int, limits: Mapping[str, int] | None = None) -> None:
        self._app = app
        self._limit = limit
        self._limits = limits or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        limit = min(self._limit, self._limits.get(scope["path"], self._limit))
        if b"transfer-encoding" in headers:
            # Whatever length is announced beside it: chunks go on until they end, and servers go by them (RFC 9112, 6.3).
            await self._gather(scope, receive, send, limit)
        elif int(headers.get(b"content-length", 0)) > limit:
            await self._refuse(scope, receive, send, limit)
        else:
            # The server holds the client to the length that it announced.
            await self._app(scope, receive, send)

    async def _gather(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        """Read a body that comes in chunks, and pass it on as one of known length.

        Connexion takes a body without a length for none at all.
        """
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return  # the client has gone
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > limit:
                await self._refuse(scope, receive, send, limit, sending=more)
                return
        headers = [(name, value) for name, value in scope["headers"] if name not in _FRAMING]
        headers.append((b"content-length", str(len(body)).encode()))
        await self._app({**scope, "headers": headers}, replayed(body, receive), send)

    async def _refuse(
        self, scope: Scope, receive: Receive, send: Send, limit: int, *, sending: bool | None = None
    ) -> None:
        """Answer 413, and take what the client is sending, so that the answer reaches it.

        A connection closed over unread data is reset, and the client may never see what was written to it.
        """
        which = (
            "--max-body"
            if limit == self._limit
            else "for this operation; --max-body is for the records of streamPredict"
        )
        response = service_error(
            413,
            f"The request's body is larger than the limit of {limit} bytes ({which}). "
            "Send fewer records at once, or put the data where the model can read it and use loadData.",
            headers={"Connection": "close"},
        )
        await send({"type": "http.response.start", "status": 413, "headers": response.raw_headers})
        await send({"type": "http.response.body", "body": response.body, "more_body": True})
        if sending is None:
            # A client that expects a word before it sends anything has sent nothing, and must not be given that word.
            sending = b"expect" not in dict(scope["headers"])
        if sending:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN_SECONDS):
                    await _drain(receive)
        await send({"type": "http.response.body", "body": b""})


async def _drain(receive: Receive) -> None:
    left = _DRAIN_BYTES
    while left > 0:
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            return
        left -= len(message.get("body", b""))
