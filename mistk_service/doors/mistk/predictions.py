"""Predictions on MISTK's wire: a map of records in, whatever the model answers as JSON out."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Iterator, Mapping

import msgspec

from mistk_service.errors import InvalidRequest
from mistk_service.kinds.predictions import Answer, Records

__all__ = ["answer_body", "records_of"]

#: How much of a record's identifier is repeated in a message.
_SHOWN = 80

#: Characters that are checked in one turn of the event loop, half a millisecond's worth; a multiple of four, as base64 needs.
_AT_ONCE = 256 * 1024

#: What a record costs to check, however short it is, in characters.
_EACH = 64

#: The largest answer, in bytes, that is encoded on the event loop: about a millisecond's worth.
_ANSWER_AT_ONCE = 64 * 1024


async def records_of(data_map: Mapping[str, str], encoding: str | None, *, at_once: int = _AT_ONCE) -> Records:
    """Return the records of a request.

    Args:
        data_map: identifier → record.
        encoding: what the model declares its records to be encoded in: ``base64``, or nothing.
        at_once: characters that are checked in one turn of the event loop; a multiple of four.

    Raises:
        InvalidRequest: a record is not encoded as the model declares.
    """
    if encoding == "base64":
        await _require_base64(data_map, at_once)
    return Records(tuple(data_map), tuple(data_map.values()))


async def answer_body(answer: Answer) -> bytes:
    """Return an answer as a line of JSON. A long one is encoded on a thread."""
    return _encode(answer) if answer.size <= _ANSWER_AT_ONCE else await asyncio.to_thread(_encode, answer)


def _encode(answer: Answer) -> bytes:
    # The line's end is for a terminal: without it the prompt sticks to the answer.
    return msgspec.json.encode(answer.value()) + b"\n"


async def _require_base64(records: Mapping[str, str], at_once: int) -> None:
    """Check that every record is base64; line breaks, as MIME puts them in, do no harm."""
    checked = 0
    for key, value in records.items():
        checked += _EACH
        try:
            for part in _parts(value, at_once):
                checked += len(part)
                if checked > at_once:
                    await asyncio.sleep(0)
                    checked = len(part)
                binascii.a2b_base64(part, strict_mode=True)
        except ValueError:
            _require_lenient(key, value)


def _parts(value: str, at_once: int) -> Iterator[str]:
    """Divide a record into parts that are base64 if, and only if, the record is.

    Raises:
        ValueError: a part that is not the last is padded.
    """
    if len(value) <= at_once:
        yield value
        return
    for begin in range(0, len(value), at_once):
        part = value[begin : begin + at_once]
        if part[-1] == "=" and begin + at_once < len(value):
            raise ValueError("padding within the record")
        yield part


def _require_lenient(key: str, value: str) -> None:
    try:
        base64.b64decode("".join(value.split()), validate=True)
    except ValueError as error:
        name = repr(key if len(key) <= _SHOWN else f"{key[:_SHOWN]}…")
        raise InvalidRequest(
            f"dataMap: the record {name} is not base64 ({error}); expected the standard alphabet with padding.",
            field="dataMap",
        ) from error
