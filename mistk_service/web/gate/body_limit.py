"""The limit on the size of a request body, enforced before an application reads it."""

from __future__ import annotations

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.web.error_responses import ErrorAnswer, send_early
from mistk_service.web.request_body import BodyTooLarge, read_body, replayed
from mistk_service.web.request_headers import announced_length

#: The headers with the length of a body.
_FRAMING = (b"content-length", b"transfer-encoding")


class BodyLimit:
    """ASGI middleware: answers 413 to a body over a limit in bytes, by its announced length or as soon as it exceeds that."""

    def __init__(self, app: ASGIApp, limit: int, answer: ErrorAnswer) -> None:
        self._app = app
        self._limit = limit
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        # The server holds a client to the length that it announces.
        if scope["type"] == "http" and ((length := announced_length(scope)) is None or length > self._limit):
            try:
                scope, receive = await self._within_limit(scope, receive)
            except ClientDisconnect:
                return
            except BodyTooLarge as error:
                await send_early(self._answer(error, scope), scope, receive, send, sending=error.sending)
                return
        await self._app(scope, receive, send)

    async def _within_limit(self, scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
        # Read whole, and passed on as a body of known length: Connexion treats a body without a length as missing.
        body = await read_body(scope, receive, self._limit)
        kept = [(name, value) for name, value in scope["headers"] if name not in _FRAMING]
        length = (b"content-length", str(len(body)).encode())
        return {**scope, "headers": [*kept, length]}, replayed(body, receive)
