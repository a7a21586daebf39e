"""Named tensors as numpy arrays, and back."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mistk_service.kinds.predictions import DTYPES, Tensor, Tensors, TensorSpec


def arrays_of(inputs: Tensors) -> dict[str, np.ndarray[Any, Any]]:
    """Return tensors as arrays, by name. They are read-only and share the memory of the request."""
    return {tensor.name: _array(tensor) for tensor in inputs.tensors}


def tensors_of(result: Any, counts: Sequence[int] | None = None, declared: Sequence[TensorSpec] = ()) -> list[Tensors]:
    """Return what a hook returned, a dict of name to array, as the tensors of one request, or of several.

    Args:
        result: what the hook returned.
        counts: the number of records of each request; None for one request with any number.
        declared: the outputs of the class. Their numbers are converted to the declared data types.

    Raises:
        TypeError: it is something else, or an array has a data type that no tensor can have, or that cannot become the
            declared one.
        ValueError: an array does not have a value for each record of several requests, or a number does not fit its type.
    """
    if not isinstance(result, Mapping):
        raise TypeError(f"expected a dict of name to array, got {type(result).__name__}")
    arrays = {str(name): np.asarray(value) for name, value in with_declared_types(result, declared).items()}
    if counts is None:
        return [_tensors(arrays)]
    ends = list(itertools.accumulate(counts))
    if wrong := [name for name, array in arrays.items() if array.shape[:1] != (ends[-1],)]:
        raise ValueError(f"{wrong[0]}: expected {ends[-1]} values, one for each record")
    return [
        _tensors({name: array[end - count : end] for name, array in arrays.items()})
        for count, end in zip(counts, ends, strict=True)
    ]


def with_declared_types(outputs: Mapping[str, Any], declared: Sequence[TensorSpec]) -> dict[str, Any]:
    """Return outputs of a hook; those that are declared with a numeric type are arrays of it.

    Raises:
        TypeError: one cannot be converted, such as fractions to whole numbers.
        ValueError: a number is too large or too small for its type.
    """
    types = {spec.name: spec.dtype for spec in declared if spec.dtype != "bytes"}
    return {name: _converted(name, value, types[name]) if name in types else value for name, value in outputs.items()}


def _converted(name: str, value: Any, dtype: str) -> np.ndarray[Any, Any]:
    array = np.asarray(value)
    if array.dtype == dtype:
        return array
    both_whole = array.dtype.kind in "iu" and np.dtype(dtype).kind in "iu"
    # An empty list has no data type of its own, and numpy gives it one.
    if array.size and not both_whole and not np.can_cast(array.dtype, dtype, "same_kind"):
        raise TypeError(f"{name}: the hook returned {array.dtype}; expected {dtype}, as the class declares")
    try:
        with np.errstate(over="raise"):
            converted = array.astype(dtype)
        fits = not both_whole or bool((converted == array).all())
    except FloatingPointError:
        fits = False
    if not fits:
        raise ValueError(f"{name}: the hook returned a number that {dtype}, which the class declares, cannot hold")
    return converted


def _tensors(arrays: Mapping[str, np.ndarray[Any, Any]]) -> Tensors:
    return Tensors(tuple(_tensor(name, array) for name, array in arrays.items()))


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    if tensor.dtype == "bytes":
        strings = np.empty(tensor.shape, dtype=object)
        strings.ravel()[:] = _byte_strings(tensor.data)
        strings.flags.writeable = False
        return strings
    return np.frombuffer(tensor.data.toreadonly(), np.dtype(tensor.dtype).newbyteorder("<")).reshape(tensor.shape)


def _byte_strings(data: memoryview) -> list[bytes]:
    found, position = [], 0
    while position < len(data):
        begin = position + 4
        position = begin + int.from_bytes(data[position:begin], "little")
        found.append(bytes(data[begin:position]))
    return found


def _tensor(name: str, array: np.ndarray[Any, Any]) -> Tensor:
    if array.dtype.name in DTYPES:
        plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        return Tensor(name, array.dtype.name, array.shape, memoryview(plain.tobytes()))
    if array.dtype.kind not in "OSU":
        raise TypeError(
            f"{name}: a tensor cannot have the data type {array.dtype}; expected one of {', '.join(DTYPES)}"
        )
    texts = [_bytes_of(value, name) for value in array.ravel().tolist()]
    data = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    return Tensor(name, "bytes", array.shape, memoryview(data))


def _bytes_of(value: Any, name: str) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return value
    raise TypeError(
        f"{name}: a value of type {type(value).__name__} cannot be in a tensor; expected numbers, text or bytes"
    )
