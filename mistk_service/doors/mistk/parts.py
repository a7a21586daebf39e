"""Sends an answer in parts on MISTK's wire: newline-delimited JSON, Server-Sent Events, or an array."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Literal

from starlette.responses import Response
from starlette.types import Scope

from mistk_service.core.answer_parts import AnswerParts
from mistk_service.doors.mistk.problems import answer as problem
from mistk_service.doors.mistk.record_codec import answer_body
from mistk_service.doors.mistk.watch import ALIVE, ALIVE_SSE, ClosingStream
from mistk_service.errors import InvalidRequest, MistkError
from mistk_service.kinds.predictions import Answer
from mistk_service.web.disconnect import unless_disconnected

#: The maximum size of an array in bytes, since all of it is held in memory.
_LARGEST_ARRAY = 64 * 1024 * 1024

_Form = Literal["application/json", "application/x-ndjson", "text/event-stream"]


async def parts_response(parts: AnswerParts, accept: str, scope: Scope) -> Response:
    """Return the parts in the form that the client accepts: by default, a line of JSON for each.

    A client that only accepts ``application/json`` gets an array when all parts have arrived.

    Args:
        parts: the answer.
        accept: the Accept header.
        scope: the request.
    """
    form = _form(accept)
    if form == "application/json":
        body = await unless_disconnected(scope, asyncio.ensure_future(_array(parts)))
        return Response(body, media_type=form)
    return _stream(parts, form)


def events_response(parts: AnswerParts, accept: str, keepalive: float) -> Response:
    """Return the parts as the events of a stream: lines of JSON, or Server-Sent Events for a client that accepts them.

    Args:
        parts: what a model publishes; closed when the client disconnects.
        accept: the Accept header.
        keepalive: seconds between two keep-alives.
    """
    form: _Form = "text/event-stream" if "text/event-stream" in accept else "application/x-ndjson"
    return _stream(parts, form, b'{"eventType":"added","payload":%s}', keepalive)


def _form(accept: str) -> _Form:
    if "text/event-stream" in accept:
        return "text/event-stream"
    if "application/json" in accept and "ndjson" not in accept:
        return "application/json"
    return "application/x-ndjson"


async def _array(parts: AnswerParts) -> bytes:
    bodies, size = [], 0
    try:
        async for part in parts:
            bodies.append((await answer_body(part)).rstrip())
            size += len(bodies[-1])
            if size > _LARGEST_ARRAY:
                raise InvalidRequest(
                    f"The answer has more than {_LARGEST_ARRAY} bytes; expected Accept: application/x-ndjson."
                )
    finally:
        parts.close()
    return b"[%s]\n" % b",".join(bodies)


def _stream(parts: AnswerParts, form: _Form, item: bytes = b"%s", keepalive: float | None = None) -> Response:
    encoded = _encoded(parts, item, keepalive, sse=form == "text/event-stream")
    return ClosingStream(encoded, form, parts.close)


async def _encoded(parts: AnswerParts, item: bytes, keepalive: float | None, *, sse: bool) -> AsyncIterator[bytes]:
    """Yield the parts. An error in the middle is the last line: an object with the key ``error``, or an event of that name.

    Args:
        parts: the parts.
        item: converts each part.
        keepalive: seconds without a part after which to yield a keep-alive; None for never.
        sse: whether to yield Server-Sent Events.
    """
    line, failure = (b"data: %s\n\n", b"event: error\ndata: %s\n\n") if sse else (b"%s\n", b'{"error":%s}\n')
    alive = ALIVE_SSE if sse else ALIVE
    if keepalive is not None:
        yield alive  # sends the headers at once
    try:
        async for part in _with_gaps(parts, keepalive):
            yield alive if part is None else line % (item % (await answer_body(part)).rstrip())
    except MistkError as error:
        yield failure % bytes(problem(error, {}).body).rstrip()


async def _with_gaps(parts: AnswerParts, seconds: float | None) -> AsyncIterator[Answer | None]:
    """Yield the parts, and None after a number of seconds without one."""
    while True:
        try:
            async with asyncio.timeout(seconds):
                part = await anext(parts)
        except TimeoutError:
            yield None
        except StopAsyncIteration:
            return
        else:
            yield part
