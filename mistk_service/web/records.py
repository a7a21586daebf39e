"""The records of a stream prediction: base64 all of them, which is looked at without holding up anybody else."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Iterator, Mapping

from mistk_service.errors import InvalidRequest

__all__ = ["require_base64"]

#: How much of a record's identifier is repeated in a message.
_SHOWN = 80

#: Characters that are looked at in one turn of the event loop, half a millisecond's worth; a multiple of four, as base64 goes.
_AT_ONCE = 256 * 1024


async def require_base64(records: Mapping[str, str]) -> None:
    """Check that every record is base64; line breaks, as MIME puts them in, are no harm.

    Raises:
        InvalidRequest: one is not.
    """
    looked_at = 0
    for key, value in records.items():
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
