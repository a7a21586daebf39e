"""The limit on request bodies, enforced before anything reads them."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mistk_service.web.problems import service_error

__all__ = ["BodyLimit"]


class _TooLargeError(Exception):
    """The body grew over the limit while it was read; never leaves this module."""


class BodyLimit:
    """ASGI middleware: answers 413 to a body over the limit, by its announced length or else as soon as it has passed it.

    Args:
        app: what is limited.
        limit: in bytes.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = next((value for name, value in scope["headers"] if name == b"content-length"), None)
        if length is not None:
            if int(length) > self._limit:
                await self._refuse(scope, receive, send)
            else:
                # The server holds the client to the length that it announced.
                await self._app(scope, receive, send)
            return
        await self._count(scope, receive, send)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        received = 0
        answered = False

        async def counting_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit:
                raise _TooLargeError
            return message

        async def noting_send(message: Message) -> None:
            nonlocal answered
            if received > self._limit:
                return  # what the application makes of the error is not its caller's business
            answered = True
            await send(message)

        try:
            await self._app(scope, counting_receive, noting_send)
        except _TooLargeError:
            pass
        if received > self._limit and not answered:
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = service_error(
            413,
            f"The request's body is larger than the limit of {self._limit} bytes (--max-body). "
            "Send fewer records at once, or put the data where the model can read it and use loadData.",
            headers={"Connection": "close"},
        )
        await response(scope, receive, send)
