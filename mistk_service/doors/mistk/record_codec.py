"""Predictions on MISTK's wire: a map of records in the request, and the model's answer as JSON in the response."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Iterator, Mapping

import msgspec

from mistk_service.doors.request_content import INLINE_LIMIT, on_thread_if
from mistk_service.errors import InvalidRequest
from mistk_service.kinds.predictions import Answer, Records

#: Characters to check per iteration of the event loop, which takes about half a millisecond. A multiple of four, as base64
#: needs.
_CHUNK = 256 * 1024

#: The minimum cost of checking a record, in characters.
_EACH = 64


async def records_of(data_map: Mapping[str, str], encoding: str | None, *, chunk: int = _CHUNK) -> Records:
    """Return the records of a request.

    Args:
        data_map: identifier → record.
        encoding: the encoding that the model declares for its records: ``base64``, or None.
        chunk: the number of characters to check per iteration of the event loop; a multiple of four.

    Raises:
        InvalidRequest: a record does not have the declared encoding.
    """
    if encoding == "base64":
        await _require_base64(data_map, chunk)
    return Records(tuple(data_map), tuple(data_map.values()))


async def answer_body(answer: Answer) -> bytes:
    """Return an answer as a line of JSON. A long answer is encoded on a thread."""
    body: bytes = await on_thread_if(answer.size > INLINE_LIMIT)(_encode, answer)
    return body


def _encode(answer: Answer) -> bytes:
    # The line feed is for terminals: without it, the prompt would follow on the same line.
    return msgspec.json.encode(answer.value()) + b"\n"


async def _require_base64(records: Mapping[str, str], chunk: int) -> None:
    """Check that every record is base64. Line breaks, as in MIME, are allowed."""
    checked = 0
    for key, value in records.items():
        checked += _EACH
        try:
            for part in _parts(value, chunk):
                checked += len(part)
                if checked > chunk:
                    await asyncio.sleep(0)
                    checked = len(part)
                binascii.a2b_base64(part, strict_mode=True)
        except ValueError:
            _require_lenient(key, value)


def _parts(value: str, chunk: int) -> Iterator[str]:
    """Divide a record into parts that are base64 if, and only if, the record is.

    Raises:
        ValueError: a part other than the last is padded.
    """
    if len(value) <= chunk:
        yield value
        return
    for begin in range(0, len(value), chunk):
        part = value[begin : begin + chunk]
        if part[-1] == "=" and begin + chunk < len(value):
            raise ValueError("padding within the record")
        yield part


def _require_lenient(key: str, value: str) -> None:
    try:
        base64.b64decode("".join(value.split()), validate=True)
    except ValueError as error:
        raise InvalidRequest(
            f"dataMap: the record {key[:80]!r} is not base64 ({error}); expected the standard alphabet with padding.",
            field="dataMap",
        ) from error
