"""Converts rows and columns of plain values to tensors, and tensors to rows."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from mistk_service.doors.inference.tensors import elements_of, from_values, require_declared
from mistk_service.errors import InvalidRequest
from mistk_service.kinds.predictions import Tensor, Tensors, TensorSpec

#: A list of records, or a dict of columns by name. A row may be a dict of values by name, too.
Rows = list[Any]
Columns = dict[str, list[Any]]

#: The name of a tensor that neither the request nor the model names.
_UNNAMED = "input0"


def tensors_of(data: Rows | Columns, declared: Sequence[TensorSpec], *, text: bool = False) -> Tensors:
    """Return rows or columns as the tensors that a model declares.

    The columns of a table that the model does not know are the elements of its only input, in order.

    Args:
        data: the rows or columns.
        declared: the inputs that the model declares, if any.
        text: whether numbers are given as text.

    Raises:
        InvalidRequest: the data does not match the declared inputs, or is ragged.
    """
    specs = {spec.name: spec for spec in declared}
    columns = _only_json(data, declared) or _columns(columns_of(data), list(specs))
    tensors = tuple(_tensor(name, values, specs.get(name), text) for name, values in columns.items())
    require_declared(tensors, declared)
    return Tensors(tensors)


def arrays_as_tensors(arrays: Mapping[str, Any], declared: Sequence[TensorSpec]) -> Tensors:
    """Return numpy's arrays as the tensors that a model declares, with numbers converted to the declared types.

    Args:
        arrays: the arrays by name; the only one need not have the name of the only input.
        declared: the inputs that the model declares, if any.

    Raises:
        InvalidRequest: the arrays do not match the declared inputs.
    """
    from mistk_service.workers.child.tensors import tensors_of as pack  # it needs numpy

    specs = {spec.name: spec for spec in declared}
    if len(arrays) == 1 and len(specs) < 2:
        arrays = {next(iter(specs), _UNNAMED): array for array in arrays.values()}
    try:
        converted = {
            name: array.astype(specs[name].dtype, casting="same_kind", copy=False)
            if name in specs and specs[name].dtype != "bytes"
            else array
            for name, array in arrays.items()
        }
        (tensors,) = pack(converted)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"The arrays cannot be tensors: {error}.") from error
    require_declared(tensors.tensors, declared)
    return tensors


def columns_of(data: Rows | Columns) -> Rows | Columns:
    """Return rows that are dicts as columns, and anything else unchanged.

    Raises:
        InvalidRequest: two rows have different keys.
    """
    if not isinstance(data, list) or not data or not all(isinstance(row, dict) for row in data):
        return data
    names = data[0].keys()
    if names == {"b64"}:
        return data  # byte strings
    if different := next((number for number, row in enumerate(data) if row.keys() != names), None):
        raise InvalidRequest(f"Row {different} does not have the same keys as the first one.")
    return {name: [row[name] for row in data] for name in names}


def rows_of(columns: Columns) -> Iterator[tuple[Any, ...]]:
    """Return the rows of columns.

    Raises:
        InvalidRequest: the columns have different lengths.
    """
    if len({len(values) for values in columns.values()}) > 1:
        raise InvalidRequest("The columns have different lengths.")
    return zip(*columns.values(), strict=True)


def predictions_of(tensors: Sequence[Tensor], declared: Sequence[TensorSpec] = ()) -> Any:
    """Return a model's outputs as one value for each record: a dict of several outputs, or the value of the only one.

    Args:
        tensors: the outputs.
        declared: the outputs that the model declares, of which those in JSON are decoded.
    """
    in_json = {spec.name for spec in declared if spec.codec == "json"}
    values = {
        tensor.name: _nested([_plain(each, tensor.name in in_json) for each in elements_of(tensor)], tensor.shape)
        for tensor in tensors
    }
    if len(values) == 1:
        return next(iter(values.values()))
    if len({tensor.shape[:1] for tensor in tensors}) == 1 and all(tensor.shape for tensor in tensors):
        return [dict(zip(values, row, strict=True)) for row in rows_of(values)]
    return values


def _plain(element: Any, in_json: bool) -> Any:
    """Return a byte string as text, or in TensorFlow Serving's form if it is not UTF-8."""
    if not isinstance(element, bytes):
        return element
    if in_json:
        return msgspec.Raw(element)
    try:
        return element.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(element).decode()}


def _only_json(data: Rows | Columns, declared: Sequence[TensorSpec]) -> Columns | None:
    """Return rows as the only input of a model that takes any JSON; None for others, and for rows that name the input."""
    if len(declared) != 1 or declared[0].codec != "json" or not isinstance(data, list):
        return None
    name = declared[0].name
    return None if data and all(isinstance(row, dict) and row.keys() == {name} for row in data) else {name: data}


def _columns(data: Rows | Columns, names: list[str]) -> Columns:
    if isinstance(data, dict):
        if len(names) == 1 and not data.keys() & names:
            return {names[0]: [list(row) for row in rows_of(data)]}
        return data
    if len(names) < 2:
        return {names[0] if names else _UNNAMED: data}
    if any(not isinstance(row, list) or len(row) != len(names) for row in data):
        raise InvalidRequest(f"A row is not a list of {len(names)} values; expected {', '.join(names)}.")
    return {name: [row[index] for row in data] for index, name in enumerate(names)}


def _tensor(name: str, values: Any, spec: TensorSpec | None, text: bool) -> Tensor:
    if not isinstance(values, list):
        raise InvalidRequest(f"The input {name[:80]!r} is not a list of values, one for each record.", field=name)
    if spec is not None and spec.codec is not None:
        return from_values(name, "bytes", (len(values),), [_record(name, value, spec.codec, text) for value in values])
    shape, flat = _flattened(name, values)
    if spec is not None and not values:
        shape = (0, *(max(0, dimension) for dimension in spec.shape[1:]))
    elif spec is not None and len(spec.shape) == len(shape) + 1 and spec.shape[-1] in (1, -1):
        shape = (*shape, 1)
    dtype = spec.dtype if spec is not None else _dtype_of(name, flat, text)
    if dtype == "bytes":
        flat = [_byte_string(name, value) for value in flat]
    return from_values(name, dtype, shape, flat, strict=not text)


def _flattened(name: str, values: list[Any]) -> tuple[tuple[int, ...], list[Any]]:
    """Return the shape and the elements of nested lists."""
    shape, flat = [len(values)], values
    while flat and isinstance(flat[0], list):
        lengths = {len(each) if isinstance(each, list) else -1 for each in flat}
        if len(lengths) > 1:
            raise InvalidRequest(f"The input {name[:80]!r} is ragged; expected lists of one length.", field=name)
        shape += lengths
        flat = [value for each in flat for value in each]
    return tuple(shape), flat


def _dtype_of(name: str, flat: list[Any], text: bool) -> str:
    """Return the narrowest of a few data types that holds all elements."""
    for kind, dtype in ((bool, "bool"), (int, "int64"), (float, "float64"), (str, "bytes")):
        try:
            msgspec.convert(flat, list[kind], strict=not text or kind is bool)  # type: ignore[valid-type]
        except msgspec.ValidationError:
            continue
        return dtype
    if all(isinstance(value, dict | bytes) for value in flat):
        return "bytes"
    raise InvalidRequest(f"The input {name[:80]!r} has elements of several types, or of no tensor type.", field=name)


def _record(name: str, value: Any, codec: str, text: bool) -> Any:
    """Return a value as the byte string that its codec decodes: any value for JSON, base64 for an image."""
    if isinstance(value, dict) and value.keys() == {"b64"}:
        return _byte_string(name, value)
    if codec == "json":
        return value if text else msgspec.json.encode(value)
    return _byte_string(name, {"b64": value}) if codec == "image" else value


def _byte_string(name: str, value: Any) -> Any:
    """Return the byte string in TensorFlow Serving's form, a dict with the key ``b64``."""
    if not isinstance(value, dict):
        return value
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise InvalidRequest(f'The input {name[:80]!r}: an element is not {{"b64": "..."}}.', field=name) from error


def _nested(flat: list[Any], shape: Sequence[int]) -> Any:
    if not shape:
        return flat[0]
    for size in reversed(shape[1:]):
        flat = [flat[begin : begin + size] for begin in range(0, len(flat), size)] if size else [[]] * (len(flat) or 1)
    return flat
