"""``mistk.evaluation.util.convert``: predictions and truth as tables of pandas and as records.

The names are those of MISTK 1.0 and 1.4. The columns are ``rowid``, ``labels``, ``bounds``, and for predictions
``confidence``.
Several labels of a row are separated by spaces, and each has four numbers in ``bounds``.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mistk_service.mistk_names.data import MistkDataRecord

__all__ = [
    "csv_Groundtruth_to_DataFrame",
    "csv_Predictions_to_DataFrame",
    "csv_Predictions_to_MistkDataRecord",
    "csv_groundtruth_to_dataframe",
    "csv_groundtruth_to_mistk_data_records",
    "csv_has_header",
    "csv_predictions_to_dataframe",
    "csv_predictions_to_mistk_data_records",
    "json_groundtruth_to_dataframe",
    "json_predictions_to_dataframe",
]

_PREDICTIONS = ("rowid", "labels", "confidence", "bounds")
_TRUTH = ("rowid", "labels", "bounds")

#: The names that the first cells of a header have.
_ID_NAMES = {"id", "rowid", "recordid", "record_id"}


def csv_has_header(csv_file: str) -> bool:
    """Return whether the first row of a file names the columns."""
    rows = _rows(csv_file)
    return bool(rows) and rows[0][0].lower() in _ID_NAMES


def csv_predictions_to_dataframe(csv_file: str) -> Any:
    """Return the predictions in a file; what is missing is NaN."""
    return _frame(_table(csv_file, _PREDICTIONS), _PREDICTIONS)


def csv_groundtruth_to_dataframe(csv_file: str) -> Any:
    """Return the truth in a file; what is missing is NaN."""
    return _frame(_table(csv_file, _TRUTH), _TRUTH)


def json_predictions_to_dataframe(json_file: str) -> Any:
    """Return the predictions in a list of records; what is missing is NaN."""
    return _frame(_records(json_file), _PREDICTIONS)


def json_groundtruth_to_dataframe(json_file: str) -> Any:
    """Return the truth in a list of records; what is missing is NaN."""
    return _frame(_records(json_file), _TRUTH)


def csv_predictions_to_mistk_data_records(csv_file: str) -> list[MistkDataRecord]:
    """Return the predictions in a file as records, with an object for each label."""
    return [_record(row) for row in _table(csv_file, _PREDICTIONS)]


def csv_groundtruth_to_mistk_data_records(csv_file: str) -> list[MistkDataRecord]:
    """Return the truth in a file as records, with an object for each label."""
    return [_record(row) for row in _table(csv_file, _TRUTH)]


def csv_Predictions_to_MistkDataRecord(csv_file: str, set_id: str) -> list[MistkDataRecord]:  # noqa: N802 - MISTK's name
    """Return the predictions in a file as records of a dataset."""
    records = csv_predictions_to_mistk_data_records(csv_file)
    for record in records:
        record.referenced_set_id = set_id
    return records


csv_Predictions_to_DataFrame = csv_predictions_to_dataframe  # noqa: N816 - MISTK's name
csv_Groundtruth_to_DataFrame = csv_groundtruth_to_dataframe  # noqa: N816 - MISTK's name


def _rows(csv_file: str) -> list[list[str]]:
    with open(csv_file, newline="", encoding="utf-8-sig") as file:
        return [[cell.strip() for cell in row] for row in csv.reader(file) if row]


def _table(csv_file: str, columns: Sequence[str]) -> list[dict[str, str]]:
    rows = _rows(csv_file)[1 if csv_has_header(csv_file) else 0 :]
    return [{name: cell for name, cell in zip(columns, row, strict=False) if cell} for row in rows]


def _records(json_file: str) -> list[dict[str, str]]:
    """Return a row for each record of a file, with the values of several labels separated by spaces."""
    rows = []
    for item in json.loads(Path(json_file).read_bytes())["items"]:
        row = {"rowid": item["recordId"]}
        for value in item["values"]:
            for key, each in value.items():
                name = "labels" if key == "label" else key
                text = " ".join(map(str, each)) if isinstance(each, list) else str(each)
                row[name] = f"{row[name]} {text}" if name in row else text
        rows.append(row)
    return rows


def _frame(rows: list[dict[str, str]], columns: Sequence[str]) -> Any:
    import pandas  # an evaluation plugin has it, and nothing else needs it

    return pandas.DataFrame(rows, columns=list(columns), dtype=object)


def _record(row: dict[str, str]) -> MistkDataRecord:
    confidences, bounds = row.get("confidence", "").split(), row.get("bounds", "").split()
    values: list[dict[str, Any]] = [{"label": label} for label in row.get("labels", "").split()]
    for number, value in enumerate(values):
        if number < len(confidences):
            value["confidence"] = confidences[number]
        if box := bounds[4 * number : 4 * number + 4]:
            value["bounds"] = box
    return MistkDataRecord(record_id=row["rowid"], values=values)
