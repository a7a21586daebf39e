"""Error responses in the format of the API that a request is for, also before a handler runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

#: Returns the JSON of an error, from an HTTP status and a message.
ErrorBody = Callable[[int, str], bytes]

#: Converts an error to a response to the request of an ASGI scope.
ErrorAnswer = Callable[[Exception, Scope], Response]

#: The maximum bytes and seconds for reading the rest of a refused body.
_DRAIN_BYTES, _DRAIN_SECONDS = 256 * 1024 * 1024, 2.0


def error_response(
    error_body: ErrorBody, status: int, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an error as a response."""
    return Response(error_body(status, message), status, headers, "application/json")


async def send_early(
    response: Response, scope: Scope, receive: Receive, send: Send, *, sending: bool | None = None
) -> None:
    """Send a response while the client may still be sending its body, which is read and dropped.

    A connection that is closed over unread data is reset, and the client may never see the response. Without
    ``sending``, the ``Expect`` header shows whether there is a rest: a client that waits for "100 Continue" has sent nothing,
    and reading its body would request it.
    """

    async def unfinished(message: Message) -> None:
        await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

    await response(scope, receive, unfinished)
    if sending is None:
        sending = not any(name == b"expect" for name, _ in scope["headers"])
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
