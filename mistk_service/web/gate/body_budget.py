"""A limit on the total size of request bodies in progress."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mistk_service.web.error_responses import ErrorAnswer, send_early
from mistk_service.web.memory import LargeBlocks
from mistk_service.web.request_headers import headers_of

_MESSAGE = (
    "The request bodies that are being received have {limit} bytes together, which is the limit. Send this request again "
    "later, and fewer large ones at once."
)

#: Bytes up to which an announced body is not counted. The maximum number of connections holds 256 MiB of them.
_SMALL = 64 * 1024


class BodyBudget:
    """ASGI middleware: answers 503 to a body that exceeds what all unfinished bodies may take together.

    A body counts piece by piece until it is complete. One that arrives whole or is announced to be small does not count, nor
    do files, which are sent with PUT and written as they come. The memory of what counts is returned to the system later.

    Args:
        app: reads bodies into memory.
        limit: bytes of all unfinished bodies together.
        answer: converts an error to a response.
    """

    def __init__(self, app: ASGIApp, limit: int, answer: ErrorAnswer) -> None:
        self._app = app
        self._limit = limit
        self._answer = answer
        self._held = 0
        self._blocks = LargeBlocks()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count its body."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "PUT") or _is_small(scope):
            await self._app(scope, receive, send)
            return
        held = 0
        exceeded = started = False

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
            nonlocal started
            if started or not exceeded:
                started = True
                await send(message)

        try:
            await self._app(scope, counted, guarded)
        finally:
            self._held -= held
            self._blocks.used()
        if exceeded and not started:
            headers = {"Retry-After": "1", "Connection": "close"}
            error = HTTPException(503, _MESSAGE.format(limit=self._limit), headers)
            await send_early(self._answer(error, scope), scope, receive, send, sending=True)


def _is_small(scope: Scope) -> bool:
    headers = headers_of(scope)
    return int(headers.get(b"content-length", _SMALL + 1)) <= _SMALL and b"transfer-encoding" not in headers
