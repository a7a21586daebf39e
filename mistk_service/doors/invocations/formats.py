"""The formats of ``/invocations``, by content type."""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.exceptions import HTTPException

from mistk_service.doors.inference.tensors import MOST_VALUES
from mistk_service.doors.instances.rows import Columns, Rows
from mistk_service.doors.request_content import decode_json
from mistk_service.errors import InvalidRequest
from mistk_service.kinds.predictions import TensorSpec

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
NPY, NPZ = "application/x-npy", "application/x-npz"

#: The forms in which MLflow's clients send data as JSON. A request has exactly one of them.
_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


class _Split(msgspec.Struct):
    data: list[list[Any]]
    columns: list[str | int] = []  # pandas numbers columns that have no name


def read_json(body: bytes | bytearray) -> tuple[Rows | Columns, bool]:
    """Return the data of a JSON body, and whether it is in a form of MLflow's.

    Raises:
        InvalidRequest: it is neither one of MLflow's forms nor a list of records.
    """
    value: Any = decode_json(body, object)
    if isinstance(value, list):
        return value, False
    found = [form for form in _FORMS if isinstance(value, dict) and form in value]
    if len(found) != 1:
        raise InvalidRequest(f"The body has {len(found)} of the keys {', '.join(_FORMS)}; expected exactly one.")
    if value.get("params"):
        raise InvalidRequest("params: expected none; they are not supported.", field="params")
    data = value[found[0]]
    if found[0] == "dataframe_split":
        return _split(data), True
    if not isinstance(data, list) and not (found[0] == "inputs" and isinstance(data, dict)):
        raise InvalidRequest(f"{found[0]} is not a list of records.", field=found[0])
    return data, True


def read_csv(body: bytes | bytearray, header: str, declared: Sequence[TensorSpec]) -> Rows | Columns:
    """Return the data of a CSV body, with cells as text.

    Args:
        body: the body.
        header: ``present`` or ``absent``, from the content type (RFC 4180). Otherwise the first row is a header if it
            names declared inputs or has a cell that is not a number.
        declared: the inputs that the model declares, if any.

    Raises:
        InvalidRequest: it is not CSV in UTF-8.
    """
    try:
        rows = [row for row in csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True) if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The body is not CSV in UTF-8: {error}.") from error
    if not rows:
        return []
    if len({len(row) for row in rows}) > 1:
        raise InvalidRequest("The rows of the CSV have different lengths.")
    if header == "present" or (header != "absent" and _is_header(rows[0], declared)):
        return _by_column(rows[0], rows[1:])
    return [row[0] for row in rows] if len(rows[0]) == 1 else rows


def read_parquet(body: bytes | bytearray) -> Columns:
    """Return the data of a Parquet file.

    Raises:
        HTTPException: 415, pyarrow is not installed.
        InvalidRequest: it is not Parquet, or has too many values.
    """
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise HTTPException(415, "Parquet needs pyarrow, which is not installed.") from error
    try:
        file = parquet.ParquetFile(io.BytesIO(body))
        if file.metadata.num_rows * max(1, file.metadata.num_columns) > MOST_VALUES:
            raise InvalidRequest(f"The file has more than {MOST_VALUES} values.")
        columns: Columns = file.read().to_pydict()
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise InvalidRequest(f"The body is not a Parquet file: {error}.") from error
    return columns


def read_arrays(body: bytes | bytearray, content_type: str, limit: int) -> dict[str, Any]:
    """Return the arrays of an npy or npz body by name; one without a name is called ``""``.

    Args:
        body: the body.
        content_type: the type of the two.
        limit: the maximum size of the arrays in bytes.

    Raises:
        HTTPException: 415, numpy is not installed.
        InvalidRequest: it is not in the format, or too large.
    """
    try:
        if content_type == NPY:
            return {"": _array(memoryview(body))}
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > limit:
                raise InvalidRequest(f"The arrays have more than {limit} bytes.")
            return {name.removesuffix(".npy"): _array(memoryview(archive.read(name))) for name in archive.namelist()}
    except ImportError as error:
        raise HTTPException(415, f"{content_type} needs numpy, which is not installed.") from error
    except (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InvalidRequest(f"The body is not {content_type}: {error}.") from error


def to_csv(predictions: Any) -> bytes:
    """Return predictions as CSV without a header, a line for each record."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in predictions if isinstance(predictions, list) else [predictions]:
        cells = list(row.values()) if isinstance(row, Mapping) else row if isinstance(row, list) else [row]
        writer.writerow(cells)
    return text.getvalue().encode()


def to_npy(predictions: Any) -> bytes:
    """Return predictions of one number each, or lists of them, as npy.

    Raises:
        HTTPException: 406, they have another form.
    """
    import numpy as np

    try:
        array = np.asarray(predictions)
    except ValueError as error:
        raise HTTPException(406, "The predictions are ragged and cannot be npy.") from error
    if array.dtype.kind not in "biuf":
        raise HTTPException(406, "The predictions are not numbers of one output and cannot be npy.")
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _split(data: Any) -> Rows | Columns:
    try:
        split = msgspec.convert(data, _Split)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"dataframe_split: {error}.", field="dataframe_split") from error
    if not split.columns:
        return split.data
    if any(len(row) != len(split.columns) for row in split.data):
        raise InvalidRequest("dataframe_split: a row does not have one value for each column.")
    return _by_column(list(map(str, split.columns)), split.data)


def _by_column(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Columns:
    if len(set(names)) < len(names):
        raise InvalidRequest("Two columns have the same name.")
    return {name: [row[index] for row in rows] for index, name in enumerate(names)}


def _is_header(first: Sequence[str], declared: Sequence[TensorSpec]) -> bool:
    if {*first} <= {spec.name for spec in declared}:
        return True
    return not any(spec.dtype == "bytes" for spec in declared) and not all(map(_is_number, first))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _array(data: memoryview) -> Any:
    import numpy as np
    from numpy.lib import format as npy

    file = io.BytesIO(data)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(npy.read_magic(file))
    if read is None:
        raise ValueError("expected version 1 or 2 of the format")
    try:
        shape, by_column, dtype = read(file)
    except Exception as error:  # numpy parses the header as Python, which fails in many ways
        raise ValueError("its header cannot be read") from error
    if dtype.hasobject:
        raise ValueError("it has Python objects")
    return np.frombuffer(data[file.tell() :], dtype).reshape(shape, order="F" if by_column else "C")
