"""Named tensors as numpy arrays, and back."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mistk_service.kinds.predictions import DTYPES, Tensor, Tensors, TensorSpec

#: The data types of arrays by the names of :data:`DTYPES`; an array of byte strings may also have one of numpy's own.
_TYPES = {name: np.dtype(object if name == "bytes" else name) for name in DTYPES}

#: The names of numeric data types, in both byte orders. numpy computes ``dtype.name`` anew each time, which takes longer than
#: everything else here.
_NAMES = {each: name for name in DTYPES if name != "bytes" for each in (_TYPES[name], _TYPES[name].newbyteorder())}


def arrays_of(inputs: Tensors) -> dict[str, np.ndarray[Any, Any]]:
    """Return tensors as arrays, by name. They are read-only and share the memory of the request."""
    return {tensor.name: _array(tensor) for tensor in inputs.tensors}


def tensors_of(result: Any, counts: Sequence[int] | None = None, declared: Sequence[TensorSpec] = ()) -> list[Tensors]:
    """Return what a hook returned, a dict of name to array, as the tensors of one request, or of several.

    Args:
        result: what the hook returned.
        counts: the number of records of each request; None for one request with any number.
        declared: the outputs of the class; see :func:`as_declared`.

    Raises:
        TypeError: it is something else, or an array has a data type that no tensor can have, or that cannot become the
            declared one.
        ValueError: an array does not have a value for each record of several requests, or is not as declared.
    """
    if not isinstance(result, Mapping):
        raise TypeError(f"expected a dict of name to array, got {type(result).__name__}")
    arrays = {name: _as_array(value) for name, value in as_declared(result, declared).items()}
    if counts is None:
        return [Tensors(tuple(_tensor(name, array) for name, array in arrays.items()))]
    records = sum(counts)
    if wrong := [name for name, array in arrays.items() if array.shape[:1] != (records,)]:
        raise ValueError(f"{wrong[0]}: expected {records} values, one for each record")
    split = [_split(name, array, counts) for name, array in arrays.items()]
    return [Tensors(tuple(each)) for each in zip(*split, strict=True)] or [Tensors(())] * len(counts)


def as_declared(outputs: Mapping[Any, Any], declared: Sequence[TensorSpec]) -> dict[str, Any]:
    """Return outputs of a hook by name; those that are declared without a codec are arrays of the declared data type.

    Raises:
        TypeError: one cannot be converted, such as fractions to whole numbers.
        ValueError: a declared output is missing or has another shape, or a number is too large or too small for its type.
    """
    found = {str(name): value for name, value in outputs.items()}
    for spec in declared:
        if spec.name not in found:
            raise ValueError(
                f"{spec.name}: the hook did not return it; expected {_described(spec)}, as the class declares. "
                f"It returned: {', '.join(found) or 'nothing'}"
            )
        if spec.codec is None:
            found[spec.name] = _as_declared(spec, found[spec.name])
    return found


def _as_declared(spec: TensorSpec, value: Any) -> np.ndarray[Any, Any]:
    array = _as_array(value)
    if not array.size and array.ndim == 1 and not isinstance(value, np.ndarray):
        # An empty list does not show how many dimensions its records would have.
        array = array.reshape(0, *(max(0, size) for size in spec.shape[1:]))
    if not spec.fits(array.shape):
        raise ValueError(
            f"{spec.name}: the hook returned the shape {list(array.shape)}; expected {_described(spec)}, as the class "
            "declares"
        )
    return _converted(spec, array)


def _as_array(value: Any) -> np.ndarray[Any, Any]:
    array = np.asarray(value)
    # In numpy's arrays of strings, zeros at the end of a string are lost.
    return np.asarray(value, object) if array.dtype.kind in "SU" and array is not value else array


def _described(spec: TensorSpec) -> str:
    return f"{spec.type_name} {list(spec.shape)}"


def _converted(spec: TensorSpec, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    wanted = _TYPES[spec.dtype]
    if array.dtype == wanted or (wanted.kind == "O" and array.dtype.kind in "SU"):
        return array
    both_whole = array.dtype.kind in "iu" and wanted.kind in "iu"
    possible = both_whole or (wanted.kind != "O" and np.can_cast(array.dtype, wanted, "same_kind"))
    # An empty list has no data type of its own, and numpy gives it one.
    if array.size and not possible:
        raise TypeError(f"{spec.name}: the hook returned {array.dtype}; expected {spec.dtype}, as the class declares")
    try:
        with np.errstate(over="raise"):
            converted = array.astype(wanted)
        fits = not both_whole or bool((converted == array).all())
    except FloatingPointError:
        fits = False
    if not fits:
        raise ValueError(
            f"{spec.name}: the hook returned a number that {spec.dtype}, which the class declares, cannot hold"
        )
    return converted


def _split(name: str, array: np.ndarray[Any, Any], counts: Sequence[int]) -> list[Tensor]:
    """Return the tensors of several requests with the given numbers of records, which share the memory of one."""
    ends = [*zip(counts, itertools.accumulate(counts), strict=True)]
    if array.dtype not in _NAMES:  # byte strings, whose size varies
        return [_tensor(name, array[end - count : end]) for count, end in ends]
    whole, shape = _tensor(name, array), array.shape[1:]
    size = whole.data.nbytes // max(1, len(array))
    return [
        Tensor(name, whole.dtype, (count, *shape), whole.data[(end - count) * size : end * size]) for count, end in ends
    ]


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
    if (dtype := _NAMES.get(array.dtype)) is not None:
        plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        return Tensor(name, dtype, array.shape, memoryview(plain.tobytes()))
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
