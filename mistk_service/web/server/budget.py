"""A limit on all bodies together that are on their way."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mistk_service.web.server.config import Refusal

__all__ = ["BodyBudget", "budget_for"]

#: Bytes that unfinished bodies may take at least, and how many of the largest allowed size there may be.
_LEAST, _BODIES = 256 * 1024 * 1024, 4

#: Seconds for which what a refused client goes on sending is taken and dropped, so that the answer reaches it.
_DRAIN = 2.0

_MESSAGE = (
    "The requests that are being received take {limit} bytes, as many as they may together. Send this one again in a moment, "
    "and fewer large ones at once."
)


def budget_for(max_body: int) -> int:
    """Return how many bytes unfinished bodies may take together, where one may have ``max_body``."""
    return max(_LEAST, _BODIES * max_body)


class BodyBudget:
    """ASGI middleware: answers 503 to a body that does not fit beside the other unfinished ones.

    A body counts piece by piece until it is complete; one that arrives whole does not count. Files, which are sent with PUT,
    are written as they come and do not count either.

    Args:
        app: reads bodies into memory.
        limit: bytes of all unfinished bodies together.
        refusal: returns the JSON of an error.
    """

    def __init__(self, app: ASGIApp, limit: int, refusal: Refusal) -> None:
        self._app = app
        self._limit = limit
        self._refusal = refusal
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count its body."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "PUT"):
            await self._app(scope, receive, send)
            return
        held = 0
        exceeded = begun = False

        async def counted() -> Message:
            nonlocal held, exceeded
            message = await receive()
            more = message["type"] == "http.request" and message.get("more_body", False)
            size = len(message.get("body", b"")) if more else -held
            if self._held + size > self._limit:
                exceeded = True
                return {"type": "http.disconnect"}  # the application reads no further
            held += size
            self._held += size
            return message

        async def guarded(message: Message) -> None:
            nonlocal begun
            if begun or not exceeded:
                begun = True
                await send(message)

        try:
            await self._app(scope, counted, guarded)
        finally:
            self._held -= held
        if exceeded and not begun:
            await self._refuse(receive, send)

    async def _refuse(self, receive: Receive, send: Send) -> None:
        body = self._refusal(503, _MESSAGE.format(limit=self._limit))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"retry-after", b"1"),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN):
                while (await receive()).get("more_body", False):
                    pass
        await send({"type": "http.response.body", "body": b""})
