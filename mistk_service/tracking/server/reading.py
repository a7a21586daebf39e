"""Getting at the fields of a request."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from dataclasses import replace
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope

from mistk_service.tracking.errors import InvalidParameter
from mistk_service.tracking.server.replies import BodyTooLarge, UnsupportedEncoding
from mistk_service.tracking.wire.encoding import Fields
from mistk_service.web.json_limits import JsonLimits

__all__ = ["ClientGone", "body_of", "fields_of", "header", "limits_of", "query_of"]

_JSON = "application/json"

#: What a request may hold: more than a tag of the registry at its longest, 100,000 characters written as escapes.
_USUAL = JsonLimits(size=2 << 20)

#: What more is needed for, by operationId. A full batch whose text is written as escapes; a dataset with the longest profile,
#: each character of which is escaped; the parts of the largest upload.
_LIMITS = {
    "log_batch": JsonLimits(size=10 << 20),
    "log_inputs": JsonLimits(size=36 << 20, values=100_000, containers=20_000),
    "complete_multipart_upload": JsonLimits(size=8 << 20, values=100_000, containers=20_000),
}

#: The longest body that is decoded on the event loop, in bytes: a matter of a millisecond.
_AT_ONCE = 64 * 1024


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


def header(scope: Scope, name: bytes) -> str | None:
    """Return the first header of that lower-case name, or None."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None


def limits_of(operation_id: str, max_body: int) -> JsonLimits:
    """Return what the body of an operation may hold, where no body may have more than ``max_body`` bytes."""
    limits = _LIMITS.get(operation_id, _USUAL)
    return replace(limits, size=min(limits.size, max_body))


async def fields_of(scope: Scope, receive: Receive, limits: JsonLimits, executor: Executor) -> Fields:
    """Return the fields of a request: of the query of a GET that has one, else of the body.

    Args:
        scope: the ASGI scope.
        receive: gives the body.
        limits: what a body may hold.
        executor: for the decoding of a long one.

    Raises:
        InvalidParameter: the query or the body cannot be read, or the body holds too much.
        BodyTooLarge: the body has too many bytes.
        ClientGone: nobody waits for the answer any more.
    """
    if scope["method"] in ("GET", "HEAD") and scope["query_string"]:
        return query_of(scope)
    body = await body_of(scope, receive, limits.size)
    if body:
        _check_type(scope)
    if len(body) <= _AT_ONCE:
        return Fields.from_body(body, limits)
    return await asyncio.get_running_loop().run_in_executor(executor, Fields.from_body, body, limits)


def query_of(scope: Scope) -> Fields:
    """Return the fields of the query.

    Raises:
        InvalidParameter: it is not UTF-8.
    """
    try:
        pairs = parse_qsl(scope["query_string"].decode("ascii"), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError as error:
        raise InvalidParameter("The query of the request is not valid UTF-8.") from error
    return Fields.from_query(pairs)


async def body_of(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Return the whole body. See :func:`fields_of`."""
    length = header(scope, b"content-length")
    if length is not None and length.isdecimal() and int(length) > limit:
        raise _too_large(limit)
    pieces: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        pieces.append(piece)
        more = message.get("more_body", False)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _check_type(scope: Scope) -> None:
    if header(scope, b"content-encoding") not in (None, "identity"):
        raise UnsupportedEncoding("The body is compressed; send it as it is.")
    given = header(scope, b"content-type") or ""
    if given.partition(";")[0].strip().lower() != _JSON:
        raise InvalidParameter(f"Bad Request. Content-Type must be one of ['{_JSON}'], got {given!r}.")


def _too_large(limit: int) -> BodyTooLarge:
    # The rest of the body is not read, so the connection cannot be used again.
    return BodyTooLarge(f"The body of the request is longer than {limit} bytes.", [(b"connection", b"close")])
