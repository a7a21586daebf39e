"""The records of a stream prediction: read from a large body, and held to base64 where a model wants that.

Neither holds up anybody else.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Iterator, Mapping

import msgspec

from mistk_service.errors import InvalidRequest
from mistk_service.web.json_limits import JsonTooLarge, strings_in

__all__ = ["MAX_RECORDS", "read_records", "require_base64"]

#: Records of one request. So many of the smallest take some 50 ms to decode, during which no other thread runs.
MAX_RECORDS = 100_000

#: Escaped characters in all records of a request together, for the same reason; a long text has one in each line.
_MAX_ESCAPES = 2_000_000

#: How much of a record's identifier is repeated in a message.
_SHOWN = 80

#: Characters that are looked at in one turn of the event loop, half a millisecond's worth; a multiple of four, as base64 goes.
_AT_ONCE = 256 * 1024

#: What a record costs to look at, however short it is, in characters.
_EACH = 64

_decode = msgspec.json.Decoder(dict[str, str]).decode


def read_records(body: bytes | bytearray) -> dict[str, str]:
    """Return the records of a body, an object of texts. Whatever else stands there is refused before objects are made of it.

    Raises:
        JsonTooLarge: there are too many.
        ValueError: it is no such object, or names a record twice.
    """
    if body.count(b"\\") > _MAX_ESCAPES:
        raise JsonTooLarge(f"it holds more than {_MAX_ESCAPES} escaped characters; records in base64 need none")
    # A map of texts holds two for every record.
    strings = strings_in(body)
    if strings > 2 * MAX_RECORDS:
        raise JsonTooLarge(f"it holds more than {MAX_RECORDS} records; send them in several requests")
    value = _decode(body)
    if strings != 2 * len(value):
        raise ValueError("a record's name stands twice in it")
    return value


async def require_base64(records: Mapping[str, str]) -> None:
    """Check that every record is base64; line breaks, as MIME puts them in, are no harm.

    Raises:
        InvalidRequest: one is not.
    """
    looked_at = 0
    for key, value in records.items():
        looked_at += _EACH
        try:
            for part in _parts(value):
                looked_at += len(part)
                if looked_at > _AT_ONCE:
                    await asyncio.sleep(0)
                    looked_at = len(part)
                binascii.a2b_base64(part, strict_mode=True)
        except ValueError:
            _require_lenient(key, value)


def _parts(value: str) -> Iterator[str]:
    """Divide a record into parts that are base64 if, and only if, the record is.

    Raises:
        ValueError: a part that is not the last is padded.
    """
    if len(value) <= _AT_ONCE:
        yield value
        return
    for begin in range(0, len(value), _AT_ONCE):
        part = value[begin : begin + _AT_ONCE]
        if part[-1] == "=" and begin + _AT_ONCE < len(value):
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
