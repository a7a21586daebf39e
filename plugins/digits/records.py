"""Converts images to and from records of stream predictions: 64 float32 numbers, little-endian, in base64."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

import numpy as np

from .errors import BadRecord
from .images import DARKEST, PIXELS, Floats

__all__ = ["decode_records", "encode_record"]

_WIRE = np.dtype("<f4")
_BYTES = PIXELS * _WIRE.itemsize
_EXPECTED = f"Expected {PIXELS} float32 numbers (little-endian, row by row, 0..{DARKEST:g}) in base64"
#: The lengths of records with another type of number.
_MISTAKEN = {PIXELS: "uint8", 2 * PIXELS: "float16", 8 * PIXELS: "float64"}


def encode_record(pixels: Floats) -> str:
    """Return the text for one image of 64 pixels, as shape (64,) or (8, 8)."""
    return base64.b64encode(np.asarray(pixels, dtype=_WIRE).tobytes()).decode("ascii")


def decode_records(data_map: Mapping[str, str]) -> Floats:
    """Return the images of ``data_map``, in its order, as shape (n, 64).

    Raises:
        BadRecord: one is not an image; the message names it and the problem.
    """
    rows = [_decode(identifier, text) for identifier, text in data_map.items()]
    return np.stack(rows) if rows else np.empty((0, PIXELS))


def _decode(identifier: str, text: str) -> Floats:
    try:
        # Encoders that break lines are common; any other character outside of base64 is an error.
        content = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError, AttributeError) as error:
        raise _bad(identifier, f"it is not base64 ({error})") from error
    if len(content) != _BYTES:
        hint = f", which would be {PIXELS} numbers of {kind}" if (kind := _MISTAKEN.get(len(content))) else ""
        raise _bad(identifier, f"it has {len(content)} bytes instead of {_BYTES}{hint}")
    pixels = np.frombuffer(content, dtype=_WIRE).astype(np.float64)
    wrong = np.flatnonzero(~((pixels >= 0) & (pixels <= DARKEST)))
    if wrong.size:
        first = int(wrong[0])
        raise _bad(identifier, f"pixel {first} is {pixels[first]:g}, which is not in 0..{DARKEST:g}")
    return pixels


def _bad(identifier: str, problem: str) -> BadRecord:
    return BadRecord(f"The record {identifier!r} is not an image: {problem}. {_EXPECTED}.", identifier=identifier)
