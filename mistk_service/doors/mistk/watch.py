"""The watch as a stream of bytes: newline-delimited JSON or Server-Sent Events."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable

import msgspec
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from mistk_service.core.status_log import Missed, StatusEvent, StatusLog
from mistk_service.errors import InvalidRequest, ServiceBusy

#: The maximum number of digits of a version, which is an integer of 64 bits.
_DIGITS = 19

#: The number of encoded events kept for other watches, which are at the same version or the next one.
_KEPT = 8

#: Proxies must pass on each part of a stream as it comes.
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

#: Keep-alives that readers ignore: a space before the next line of JSON, and a comment of Server-Sent Events.
ALIVE, ALIVE_SSE = b" ", b": keepalive\n\n"

_NDJSON, _SSE = "application/x-ndjson", "text/event-stream"


def watch_response(
    log: StatusLog, after: int | None, *, sse: bool, keepalive: float, shown: Callable[[StatusEvent], StatusEvent]
) -> StreamingResponse:
    """Return the stream of every status after version ``after``.

    Args:
        log: the history.
        after: the last version that the client knows, 0 for the whole history; None to begin with the current status.
        sse: whether to send Server-Sent Events.
        keepalive: seconds between two keep-alives.
        shown: returns each event as this client should see it.
    """
    return StreamingResponse(
        _stream(log, after, sse, keepalive, shown),
        media_type=_SSE if sse else _NDJSON,
        headers=STREAM_HEADERS,
    )


def require_free_watch(log: StatusLog, limit: int) -> None:
    """Refuse a further watch if ``limit`` of them are open.

    Raises:
        ServiceBusy: they are.
    """
    if log.watchers >= limit:
        raise ServiceBusy(f"There are {limit} open watches already (--max-watches).", retry_after=5)


class ClosingStream(StreamingResponse):
    """Sends each part at once, and closes the source of the parts at the end or when the client disconnects."""

    def __init__(self, parts: AsyncIterator[bytes], media_type: str, close: Callable[[], None]) -> None:
        super().__init__(parts, headers=STREAM_HEADERS, media_type=media_type)
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the parts."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._close()


def last_event_id(text: str | None) -> int | None:
    """Return the version in a Last-Event-ID header.

    Raises:
        InvalidRequest: it is not a version.
    """
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS:
        raise InvalidRequest(
            f"Last-Event-ID: {text[:_DIGITS]!r} is not a resourceVersion; expected the id of an event of this stream.",
            field="Last-Event-ID",
        )
    return int(text)


async def _stream(
    log: StatusLog, after: int | None, sse: bool, keepalive: float, shown: Callable[[StatusEvent], StatusEvent]
) -> AsyncIterator[bytes]:
    encode = _as_sse if sse else _as_line
    alive = ALIVE_SSE if sse else ALIVE
    yield alive  # sends the headers at once
    async for item in log.watch(after, keepalive=keepalive):
        yield alive if item is None else encode(shown(item[0]), item[1])


@functools.lru_cache(maxsize=_KEPT)
def _as_line(event: StatusEvent, missed: Missed | None) -> bytes:
    return _event(event, missed) + b"\n"


@functools.lru_cache(maxsize=_KEPT)
def _as_sse(event: StatusEvent, missed: Missed | None) -> bytes:
    return b"id: %d\nevent: status\ndata: %s\n\n" % (event.version, _event(event, missed))


def _event(event: StatusEvent, missed: Missed | None) -> bytes:
    """Return a MistkWatchEvent, around a status that is not encoded again."""
    if missed is None:
        return b'{"eventType":"%s","payload":%s}' % (event.kind.encode(), event.status)
    note = (
        f"The versions {missed.first} to {missed.last} are not in the history: they are too old, or belong to an earlier "
        "process of the service."
    )
    return msgspec.json.encode(
        {
            "eventType": event.kind,
            "payload": msgspec.Raw(event.status),
            "missed": {"from": missed.first, "to": missed.last},
            "note": note,
        }
    )
