"""Reads predictions and ground truth: CSV files with or without a header, and JSON lists of records.

A CSV file has the columns ``id,label[,confidence][,bounds]``. Several values in a cell are separated by spaces. A JSON file
is a ``MistkDataRecordList``. Bounds are accepted and not used.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mistk_service import RequestError

__all__ = ["Record", "read_aligned", "read_records"]

#: The columns of a header, by what they hold, in the order of a file without a header.
_COLUMNS = {
    "id": ("id", "rowid", "recordid", "record_id"),
    "label": ("label", "labels"),
    "confidence": ("confidence", "confidences", "score", "scores"),
    "bounds": ("bounds",),
}


@dataclass(frozen=True)
class Record:
    """The contents of a file for one record.

    Attributes:
        place: where it is, for messages (``line 7 of /data/predictions.csv``).
        labels: its labels.
        scores: the confidence of each label, or of each class in the order of the sorted classes; empty if there is none.
    """

    place: str
    labels: tuple[str, ...]
    scores: tuple[float, ...] = ()


def read_aligned(predictions: str, form: str, truth: str) -> tuple[list[Record], list[Record], int]:
    """Return the predictions and the truth for the same records, sorted by id, and how many others the truth has.

    Args:
        predictions: the file with the predictions, or its folder.
        form: ``predictions`` or ``generations``, the name of the file in the folder.
        truth: the file with the truth, or its folder.

    Raises:
        RequestError: a file cannot be used, or a prediction has no truth.
    """
    predicted = read_records(predictions, form, "input_data_path")
    known = read_records(truth, "ground_truth", "ground_truth_path")
    for identifier, record in predicted.items():
        if identifier not in known:
            raise RequestError(
                f"input_data_path: {record.place}: the id {identifier!r} is not in the ground truth {truth}; expected ids of "
                "records whose truth is known.",
                field="input_data_path",
            )
    ids = sorted(predicted)
    return [predicted[each] for each in ids], [known[each] for each in ids], len(known) - len(ids)


def read_records(path: str, name: str, field: str) -> dict[str, Record]:
    """Return the records of a file, by id.

    Args:
        path: the file, or a folder with the file ``name.csv`` or ``name.json``.
        name: the name of the file in a folder.
        field: the argument of the request, for messages.

    Raises:
        RequestError: the file cannot be read or is malformed; the message names the line or the item.
    """
    file = _file(Path(path), name, field)
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise _wrong(field, f"{file} cannot be read ({error.strerror})", "a file that can be read") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise _wrong(field, f"line {line} of {file} is not UTF-8", "a file in UTF-8") from error
    rows = _json_records(text, file, field) if file.suffix.lower() == ".json" else _csv_records(text, file, field)
    found: dict[str, Record] = {}
    for identifier, record in rows:
        if not identifier:
            raise _wrong(field, f"{record.place} has no id", "an id in each")
        if not record.labels:
            raise _wrong(field, f"{record.place} has no label", "a label in each")
        if identifier in found:
            raise _wrong(
                field, f"{record.place} repeats the id {identifier!r} of {found[identifier].place}", "each id once"
            )
        found[identifier] = record
    if not found:
        raise _wrong(field, f"{file} has no records", "at least one")
    return found


def _wrong(field: str, problem: str, expected: str) -> RequestError:
    return RequestError(f"{field}: {problem}; expected {expected}.", field=field)


def _file(path: Path, name: str, field: str) -> Path:
    if not path.is_dir():
        return path
    for suffix in ("csv", "json"):
        if (file := path / f"{name}.{suffix}").is_file():
            return file
    raise _wrong(field, f"the folder {path} has neither {name}.csv nor {name}.json", "one of them")


def _csv_records(text: str, file: Path, field: str) -> Iterator[tuple[str, Record]]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: Mapping[str, int] | None = None
    width = 0
    try:
        for row in rows:
            if not row:
                continue
            place = f"line {rows.line_num} of {file}"
            if columns is None:
                columns, width = _header(row, place, field), len(row)
                if columns:
                    continue
            if len(row) != width:
                raise _wrong(field, f"{place} has {len(row)} cells", f"{width}, as in the first line")
            yield _csv_record(row, columns or _positions(row, place, field), place, field)
    except csv.Error as error:
        raise _wrong(field, f"line {rows.line_num} of {file} is not CSV ({error})", "comma-separated values") from error


def _header(row: Sequence[str], place: str, field: str) -> dict[str, int]:
    """Return the columns that a header names; empty if the row is a record."""
    names = [cell.strip().lower() for cell in row]
    found = {what: index for what, known in _COLUMNS.items() for index, name in enumerate(names) if name in known}
    if "id" in found and "label" not in found:
        raise _wrong(field, f"{place} is a header without the column 'label'", "the columns id and label")
    return found if {"id", "label"} <= found.keys() else {}


def _positions(row: Sequence[str], place: str, field: str) -> dict[str, int]:
    """Return the columns of a file without a header. The third holds bounds if it has four numbers for each label."""
    if not 2 <= len(row) <= len(_COLUMNS):
        raise _wrong(field, f"{place} has {len(row)} cells and the file no header", "id,label[,confidence][,bounds]")
    has_bounds = len(row) == 3 and len(row[2].split()) == 4 * len(row[1].split())
    names = ("id", "label", "bounds") if has_bounds else tuple(_COLUMNS)
    return {name: index for index, name in enumerate(names[: len(row)])}


def _csv_record(row: Sequence[str], columns: Mapping[str, int], place: str, field: str) -> tuple[str, Record]:
    cells = {name: row[index].split() for name, index in columns.items()}
    scores = tuple(_number(value, place, field) for value in cells.get("confidence", ()))
    return row[columns["id"]].strip(), Record(place, tuple(cells["label"]), scores)


def _json_records(text: str, file: Path, field: str) -> Iterator[tuple[str, Record]]:
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong(field, f"{file} is not JSON ({error})", "a MistkDataRecordList") from error
    items = listed.get("items") if isinstance(listed, dict) else listed
    if not isinstance(items, list):
        raise _wrong(field, f"{file} has no list of items", '{"items": [{"recordId": ..., "values": [...]}]}')
    for index, item in enumerate(items):
        place = f"items[{index}] of {file}"
        values = item.get("values") if isinstance(item, dict) else None
        if not isinstance(values, list) or not all(isinstance(each, dict) for each in values):
            raise _wrong(field, f"{place} has no list of values", '{"recordId": ..., "values": [{"label": ...}]}')
        yield str(item.get("recordId") or ""), _json_record(values, place, field)


def _json_record(values: Sequence[Mapping[str, Any]], place: str, field: str) -> Record:
    labels = tuple(str(value["label"]) for value in values if value.get("label") is not None)
    scores = [value["confidence"] for value in values if value.get("confidence") is not None]
    return Record(place, labels, tuple(_number(score, place, field) for score in scores))


def _number(value: Any, place: str, field: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise _wrong(field, f"{place}: the confidence is {value!r:.40}", "a finite number")
    return number
