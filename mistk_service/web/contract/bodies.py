"""Bodies of requests that were read ahead of whom they are for."""

from __future__ import annotations

from starlette.types import Message, Receive

__all__ = ["replayed"]


def replayed(body: bytes | bytearray, receive: Receive) -> Receive:
    """Return a ``receive`` that gives a body that was read already."""
    whole: Message | None = {"type": "http.request", "body": bytes(body), "more_body": False}

    async def replay() -> Message:
        nonlocal whole
        if whole is None:
            return await receive()
        message, whole = whole, None
        return message

    return replay
