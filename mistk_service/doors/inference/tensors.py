"""Tensors on the wire of the Open Inference Protocol: numbers in JSON, or raw bytes after it.

The formats are those of https://github.com/kserve/open-inference-protocol and of Triton's binary tensor data extension.
"""

from __future__ import annotations

import itertools
import math
import struct
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from mistk_service.errors import InvalidRequest
from mistk_service.kinds.predictions import DTYPES, Tensor, TensorSpec
from mistk_service.web.json_limits import JsonLimits

#: The data types of the protocol, by their names, as data types of tensors.
DATATYPES = {name.replace("float", "fp").upper() if name != "bool" else "BOOL": name for name in DTYPES}
_NAMES = {dtype: name for name, dtype in DATATYPES.items()}

#: The format characters of :mod:`struct`.
_FORMATS = dict(
    zip(("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"), "?bBhHiIqQ", strict=True)
)
_FORMATS |= {"float16": "e", "float32": "f", "float64": "d"}

#: The maximum number of elements in JSON, and of byte strings in any form. Raw numbers are limited by ``--max-body`` alone.
MOST_VALUES = 1_000_000

#: The limits on the JSON of a request, whose size is limited when it is read.
JSON_LIMITS = JsonLimits(size=sys.maxsize, values=MOST_VALUES, containers=MOST_VALUES)

#: The maximum size of a tensor in bytes that a shape may announce, even if a dimension is 0.
_LARGEST = 2**40


def _kind_of(dtype: str) -> Any:
    if dtype == "bytes":
        return str
    return bool if dtype == "bool" else float if dtype.startswith("float") else int


#: The decoders of flat arrays, by data type.
_FLAT: dict[str, msgspec.json.Decoder[Any]] = {
    dtype: msgspec.json.Decoder(list[_kind_of(dtype)])  # type: ignore[misc]
    for dtype in DTYPES
}


def datatype_of(dtype: str) -> str:
    """Return the protocol's name of a data type."""
    return _NAMES[dtype]


def dtype_of(name: str, datatype: str) -> str:
    """Return the data type of a tensor by the protocol's name of it.

    Raises:
        InvalidRequest: there is no data type with that name.
    """
    if datatype not in DATATYPES:
        raise _invalid(name, f"there is no datatype {datatype[:20]!r}; expected {', '.join(DATATYPES)}")
    return DATATYPES[datatype]


def from_json(name: str, dtype: str, shape: tuple[int, ...], data: msgspec.Raw) -> Tensor:
    """Return a tensor whose elements are a JSON array, flat or nested.

    Raises:
        InvalidRequest: the elements do not have the type, or do not match the shape in number.
    """
    try:
        values = _FLAT[dtype].decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return from_values(name, dtype, shape, _flattened(name, data))
    return _tensor(name, dtype, shape, values)


def from_values(name: str, dtype: str, shape: tuple[int, ...], values: Sequence[Any], *, strict: bool = True) -> Tensor:
    """Return a tensor whose elements are plain values, in row-major order; byte strings may be text.

    Args:
        name: its name.
        dtype: its data type.
        shape: its shape.
        values: the elements.
        strict: whether numbers have to be numbers, and not text.

    Raises:
        InvalidRequest: the elements do not have the type, or do not match the shape in number.
    """
    if dtype == "bytes":
        if not all(isinstance(value, str | bytes) for value in values):
            raise _invalid(name, "its data is not an array of BYTES; expected text")
    else:
        try:
            values = msgspec.convert(values, list[_kind_of(dtype)], strict=strict)  # type: ignore[misc]
        except msgspec.ValidationError as error:
            raise _invalid(name, f"its data is not an array of {_NAMES[dtype]} ({error})") from error
    return _tensor(name, dtype, shape, values)


def _tensor(name: str, dtype: str, shape: tuple[int, ...], values: Sequence[Any]) -> Tensor:
    """Return a tensor whose elements have the right type."""
    _require_shape(name, dtype, shape)
    _require_count(name, shape, len(values), "elements")
    if dtype == "bytes":
        texts = [value.encode() if isinstance(value, str) else value for value in values]
        packed = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    else:
        try:
            packed = struct.pack(f"<{len(values)}{_FORMATS[dtype]}", *values)
        except (struct.error, OverflowError) as error:
            raise _invalid(name, f"an element is beyond the range of {_NAMES[dtype]}") from error
    return Tensor(name, dtype, shape, memoryview(packed))


def from_bytes(name: str, dtype: str, shape: tuple[int, ...], data: memoryview) -> Tensor:
    """Return a tensor whose elements are raw bytes.

    Raises:
        InvalidRequest: the number of bytes does not match the shape.
    """
    _require_shape(name, dtype, shape)
    if dtype == "bytes":
        _require_count(name, shape, sum(1 for _ in byte_strings(name, data)), "byte strings")
    else:
        _require_count(name, shape, data.nbytes / DTYPES[dtype], f"elements of {DTYPES[dtype]} bytes")
    return Tensor(name, dtype, shape, data)


def require_few(tensors: Sequence[Tensor]) -> None:
    """Check that tensors are small enough for JSON.

    Raises:
        InvalidRequest: they are not, so that the client has to ask for binary data.
    """
    # An element has at least one byte.
    few = sum([tensor.data.nbytes for tensor in tensors]) <= MOST_VALUES
    if not few and sum(math.prod(tensor.shape) for tensor in tensors) > MOST_VALUES:
        raise InvalidRequest(f"The answer has more than {MOST_VALUES} elements; expected a request for binary data.")


def to_json(tensor: Tensor) -> list[Any]:
    """Return the elements of a tensor as a flat list.

    Raises:
        InvalidRequest: a number is not finite or a byte string is not UTF-8, so that the client has to ask for binary data.
    """
    if tensor.dtype != "bytes":
        numbers = elements_of(tensor)
        if tensor.dtype.startswith("float") and not all(map(math.isfinite, numbers)):
            raise _invalid(tensor.name, "it has numbers that are not finite; expected a request for binary data")
        return numbers
    try:
        return [text.decode() for text in elements_of(tensor)]
    except UnicodeDecodeError as error:
        raise _invalid(tensor.name, "it is not UTF-8; expected a request for binary data") from error


def elements_of(tensor: Tensor) -> list[Any]:
    """Return the elements of a tensor as a flat list of numbers or byte strings."""
    if tensor.dtype == "bytes":
        return list(map(bytes, byte_strings(tensor.name, tensor.data)))
    count = tensor.data.nbytes // DTYPES[tensor.dtype]
    return list(struct.unpack(f"<{count}{_FORMATS[tensor.dtype]}", tensor.data))


def byte_strings(name: str, data: memoryview) -> Iterable[memoryview]:
    """Yield the byte strings of a tensor, each of which is preceded by its length (32 bits, little-endian).

    Raises:
        InvalidRequest: the last one is cut off, or there are too many.
    """
    position = count = 0
    while position < len(data):
        count += 1
        if count > MOST_VALUES:
            raise _invalid(name, f"it has more than {MOST_VALUES} byte strings")
        begin = position + 4
        position = begin + int.from_bytes(data[position:begin], "little")
        if position > len(data) or begin > len(data):
            raise _invalid(name, "its last byte string is cut off")
        yield data[begin:position]


def require_declared(tensors: Sequence[Tensor], declared: Sequence[TensorSpec]) -> None:
    """Check that tensors are those that the model declares, if it declares any.

    Raises:
        InvalidRequest: a tensor is missing, is not known, or has another data type or shape.
    """
    if not declared or (len(tensors) == len(declared) and all(map(_fits, tensors, declared))):
        return
    given = {tensor.name: tensor for tensor in tensors}
    names = ", ".join(spec.name for spec in declared)
    if unknown := sorted(given.keys() - {spec.name for spec in declared}):
        raise _invalid(unknown[0], f"the model has no such input; expected {names}")
    for spec in declared:
        tensor = given.get(spec.name)
        if tensor is None:
            raise _invalid(spec.name, f"it is missing; expected {names}")
        if tensor.dtype != spec.dtype:
            raise _invalid(spec.name, f"its datatype is {_NAMES[tensor.dtype]}; expected {_NAMES[spec.dtype]}")
        if not _fits(tensor, spec):
            raise _invalid(
                spec.name, f"its shape is {list(tensor.shape)}; expected {list(spec.shape)}, where -1 is any"
            )


def _fits(tensor: Tensor, spec: TensorSpec) -> bool:
    """Return whether a tensor is as it is declared."""
    return tensor.name == spec.name and tensor.dtype == spec.dtype and spec.fits(tensor.shape)


def _flattened(name: str, data: msgspec.Raw) -> list[Any]:
    """Return a nested array as a flat list."""
    try:
        nested = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _invalid(name, f"its data is not JSON ({error})") from error
    while isinstance(nested, list) and any(isinstance(each, list) for each in nested):
        if not all(isinstance(each, list) for each in nested):
            raise _invalid(name, "its data mixes elements and arrays")
        nested = list(itertools.chain.from_iterable(nested))
    if not isinstance(nested, list):
        raise _invalid(name, "its data is not an array")
    return nested


def _require_shape(name: str, dtype: str, shape: tuple[int, ...]) -> None:
    elements = math.prod(shape) or math.prod(dimension or 1 for dimension in shape)
    if elements * max(1, DTYPES[dtype]) > _LARGEST:
        raise _invalid(name, f"the shape {list(shape)} is too large")


def _require_count(name: str, shape: tuple[int, ...], count: float, what: str) -> None:
    if math.prod(shape) != count:
        raise _invalid(name, f"it has {count:g} {what}; expected {math.prod(shape)} for the shape {list(shape)}")


def _invalid(name: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"The tensor {name[:80]!r}: {message}.", field=name)
