"""The body of a prediction request, decompressed within the limit on its size."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request

from mistk_service.doors.inference.tensors import JSON_LIMITS
from mistk_service.errors import InvalidRequest
from mistk_service.web.json_limits import JsonTooLarge, check_json
from mistk_service.web.request_body import BodyTooLarge, read_body
from mistk_service.web.request_headers import headers_of

#: The maximum size of content that is decoded or encoded on the event loop, in bytes.
INLINE_LIMIT = 64 * 1024

_Value = TypeVar("_Value")

#: The window sizes of zlib for the content codings of HTTP.
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


def on_thread_if(large: bool) -> Callable[..., Awaitable[Any]]:
    """Return a function that calls another with its arguments: on a thread if there is much to do, otherwise at once."""
    return asyncio.to_thread if large else _inline


async def _inline(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


async def json_content(request: Request, limit: int, kind: type[_Value]) -> _Value:
    """Return the body of a request as a value of a type; see :func:`read_content` and :func:`decode_json`."""
    body = await read_content(request, limit)
    value: _Value = await on_thread_if(len(body) > INLINE_LIMIT)(decode_json, body, kind)
    return value


def decode_json(body: bytes | bytearray, kind: type[_Value]) -> _Value:
    """Return JSON as a value of a type.

    Raises:
        InvalidRequest: it is not JSON, or of another type, or has too many values.
    """
    text = bytes(body)
    try:
        check_json(text, JSON_LIMITS)
        return msgspec.json.decode(text, type=kind)
    except JsonTooLarge as error:
        raise InvalidRequest(f"The body: {error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The body is not the JSON of a request: {error}.") from error


async def read_content(request: Request, limit: int) -> bytes | bytearray:
    """Return the body of a request. The limit in bytes holds for the compressed and for the decompressed body.

    Raises:
        BodyTooLarge: it is longer.
        InvalidRequest: it cannot be decompressed.
        HTTPException: 415, its coding is neither gzip nor deflate.
    """
    body = await read_body(request.scope, request.receive, limit)
    encoding = headers_of(request.scope).get(b"content-encoding")
    if encoding is None:
        return body
    coding = encoding.decode("latin-1").strip().lower()
    if coding in ("identity", ""):
        return body
    if coding not in _WINDOWS:
        raise HTTPException(415, f"The Content-Encoding {coding[:40]!r} is not supported; expected gzip or deflate.")
    content: bytes = await asyncio.to_thread(_decompress, body, _WINDOWS[coding], limit)
    return content


def _decompress(body: bytes | bytearray, window: int, limit: int) -> bytes:
    decompressor = zlib.decompressobj(window)
    try:
        content = decompressor.decompress(body, limit + 1)
    except zlib.error as error:
        raise InvalidRequest(f"The body cannot be decompressed ({error}).") from error
    if len(content) > limit:
        raise BodyTooLarge(limit, sending=False)
    if not decompressor.eof or decompressor.unused_data:
        raise InvalidRequest("The compressed body is cut off, or something follows it.")
    return content
