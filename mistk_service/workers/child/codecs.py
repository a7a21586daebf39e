"""Codecs of declared inputs and outputs, whose records are byte strings on the wire: texts, JSON, CSV and images."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np

from mistk_service.errors import RequestError
from mistk_service.kinds.predictions import TensorSpec
from mistk_service.workers.child.plain_values import json_ready

_Array = np.ndarray[Any, Any]

#: The maximum number of pixels in all images of a call; a small file may claim to be a huge image.
_PIXELS = 2**26

#: The formats of images that are read. Pillow supports more, some of them by running other programs.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")

#: The modes of images by their number of channels; one without channels is grey.
_MODES = {(): "L", (3,): "RGB", (4,): "RGBA"}


def decode(arrays: Mapping[str, _Array], declared: Sequence[TensorSpec]) -> dict[str, _Array]:
    """Return arrays with the records of inputs that have a codec as Python values.

    Images of a declared size are one array of ``uint8``. Other records are in an array of objects: a text, a value from JSON,
    the rows of CSV as lists of text, or an image as a separate array.

    Raises:
        RequestError: a record cannot be decoded, or an image has another size.
    """
    specs = {spec.name: spec for spec in declared if spec.codec is not None}
    pixels = _Pixels()
    return {name: _decoded(specs[name], array, pixels) if name in specs else array for name, array in arrays.items()}


def encode(result: Any, declared: Sequence[TensorSpec]) -> Any:
    """Return what a hook returned, with the records of outputs that have a codec as byte strings.

    Raises:
        TypeError: a record cannot be encoded.
    """
    specs = {spec.name: spec for spec in declared if spec.codec is not None}
    if not specs or not isinstance(result, Mapping):
        return result
    return {name: _encoded(specs[name], values) if name in specs else values for name, values in result.items()}


class _Pixels:
    """Counts the pixels of a call, before they are decoded."""

    def __init__(self) -> None:
        self._left = _PIXELS

    def take(self, width: int, height: int) -> None:
        """Count an image; raise ValueError if there is no room for it."""
        self._left -= width * height
        if self._left < 0:
            raise ValueError(f"it has {width} x {height} pixels; expected at most {_PIXELS} in all images of a request")


def _decoded(spec: TensorSpec, array: _Array, pixels: _Pixels) -> _Array:
    assert spec.codec is not None
    shape, values = spec.decoded[1:], []
    decoder = partial(_image, shape=shape, pixels=pixels) if spec.codec == "image" else _DECODERS[spec.codec]
    for number, data in enumerate(array.tolist()):
        try:
            values.append(decoder(data))
        except Exception as error:  # whatever a decoder raises, the record is wrong
            raise RequestError(
                f"{spec.name}: record {number} cannot be decoded as {spec.codec}: {error}", field=spec.name
            ) from error
    if spec.codec == "image" and spec.decoded and -1 not in shape:
        return np.stack(values) if values else np.empty((0, *shape), np.uint8)
    return _objects(values)


def _encoded(spec: TensorSpec, values: Any) -> _Array:
    assert spec.codec is not None
    try:
        return _objects([_ENCODERS[spec.codec](value) for value in values])
    except Exception as error:  # an encoder may raise anything
        raise TypeError(f"{spec.name}: the hook returned what cannot be encoded as {spec.codec}: {error}") from error


def _objects(values: Sequence[Any]) -> _Array:
    """Return values as an array of objects, whatever their lengths are."""
    array = np.empty(len(values), object)
    for index, value in enumerate(values):
        array[index] = value
    return array


def _csv(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))


def _image(data: bytes, shape: tuple[int, ...], pixels: _Pixels) -> _Array:
    from PIL import Image  # an extra

    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        pixels.take(*image.size)
        array = np.asarray(image.convert(_MODES[shape[2:]] if shape else "RGB"))
    if any(want not in (-1, have) for want, have in zip(shape, array.shape, strict=False)):
        raise ValueError(
            f"its height and width are {list(array.shape[:2])}; expected {list(shape[:2])}, where -1 is any"
        )
    return array


def _encoded_csv(rows: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _encoded_image(pixels: Any) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, "png")
    return buffer.getvalue()


_DECODERS: dict[str, Callable[[bytes], Any]] = {"text": bytes.decode, "json": msgspec.json.decode, "csv": _csv}
_ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "text": str.encode,
    "json": partial(msgspec.json.encode, enc_hook=json_ready),
    "csv": _encoded_csv,
    "image": _encoded_image,
}
