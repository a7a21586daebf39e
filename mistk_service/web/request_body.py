"""The body of a request, read within a limit."""

from __future__ import annotations

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

from mistk_service.errors import MistkError
from mistk_service.web.request_headers import announced_length


class BodyTooLarge(MistkError):
    """The body of a request is larger than its limit.

    Attributes:
        limit: in bytes.
        sending: whether the client is still sending it; None if it may be waiting for "100 Continue".
    """

    def __init__(self, limit: int, *, sending: bool | None = None) -> None:
        super().__init__(f"The body of the request is longer than {limit} bytes.")
        self.limit = limit
        self.sending = sending


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes | bytearray:
    """Return the whole body of a request.

    Raises:
        BodyTooLarge: its announced or actual length exceeds ``limit`` bytes.
        ClientDisconnect: the client closed the connection before its end.
    """
    length = announced_length(scope)
    if length is not None and length > limit:
        raise BodyTooLarge(limit)
    if length == 0:
        return b""
    body: bytes | bytearray = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
        more = message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        if body:
            body += piece
        else:
            body = bytearray(piece) if more else piece  # the only piece is not copied
        if len(body) > limit:
            raise BodyTooLarge(limit, sending=more)
        if not more:
            return body


def replayed(body: bytes | bytearray, receive: Receive) -> Receive:
    """Return a ``receive`` for a body that has already been read."""
    whole: Message | None = {"type": "http.request", "body": bytes(body), "more_body": False}

    async def replay() -> Message:
        nonlocal whole
        if whole is None:
            return await receive()
        message, whole = whole, None
        return message

    return replay
