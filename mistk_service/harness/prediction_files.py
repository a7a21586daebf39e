"""Predictions and ground truth in files: their format, and how well they agree."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mistk_service.errors import InvalidRequest

#: The names of the first column that make the first line a header.
_ID_NAMES = frozenset({"id", "rowid", "recordid", "record_id"})

#: The numbers that describe the place of one label.
_BOUNDS = 4


@dataclass(frozen=True)
class ClassFigures:
    """How well one class is predicted.

    Attributes:
        label: the class.
        precision: the share of its predictions that are right; None if it was never predicted.
        recall: the share of its records that are found; None if there are none.
        f1: the harmonic mean of both.
        support: the number of its records.
    """

    label: str
    precision: float | None
    recall: float | None
    f1: float
    support: int


@dataclass(frozen=True)
class Agreement:
    """How well predictions agree with the truth, where every record has one class.

    Attributes:
        accuracy: the share of records whose prediction is right.
        classes: the figures of each class.
        confusion: the number of records by true and predicted class, in the order of ``classes``.
    """

    accuracy: float
    classes: tuple[ClassFigures, ...]
    confusion: tuple[tuple[int, ...], ...]


def read_labels(path: Path, name: str, *, scores: bool) -> dict[str, tuple[str, ...]]:
    """Return the labels of each record by its id, from CSV or from JSON (a MistkDataRecordList).

    Args:
        path: the file, or the folder with the file.
        name: the name of the file in a folder, without suffix: ``predictions`` or ``ground_truth``.
        scores: whether a column of confidences may come before the bounds.

    Raises:
        InvalidRequest: the file is missing or malformed; the message names the line.
    """
    file = _file(path, name)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read: {error.strerror}.", field=name) from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{file} is not a text in UTF-8 (byte {error.start}).", field=name) from error
    found: dict[str, tuple[str, ...]] = {}
    records = _json_records(file, text) if file.suffix == ".json" else _csv_records(file, text, scores=scores)
    for place, record, labels in records:
        if not record:
            raise InvalidRequest(f"{file}, {place}: the id is missing.", field=name)
        if record in found:
            raise InvalidRequest(f"{file}, {place}: the id {record!r} occurs twice.", field=name)
        found[record] = labels
    if not found:
        raise InvalidRequest(f"{file} has no records.", field=name)
    return found


def compare(predicted: Mapping[str, tuple[str, ...]], truth: Mapping[str, tuple[str, ...]]) -> Agreement | None:
    """Return how well predictions agree with the truth; None if records have several labels, or numbers instead of classes.

    Records of the truth without a prediction do not count, as in MISTK.

    Raises:
        InvalidRequest: a record was predicted that the truth does not have.
    """
    extra = [record for record in predicted if record not in truth]
    if extra:
        raise InvalidRequest(
            f"The predictions have {len(extra)} records without ground truth, such as {extra[0]!r}.",
            field="predictions",
        )
    pairs = [(truth[record], labels) for record, labels in predicted.items()]
    labels = sorted({label for pair in pairs for each in pair for label in each}, key=_natural)
    if any(len(each) != 1 for pair in pairs for each in pair) or any(_is_fraction(label) for label in labels):
        return None
    counts = Counter((true[0], guess[0]) for true, guess in pairs)
    confusion = tuple(tuple(counts[true, guess] for guess in labels) for true in labels)
    right = sum(counts[label, label] for label in labels)
    figures = tuple(_figures(label, index, confusion) for index, label in enumerate(labels))
    return Agreement(right / len(pairs), figures, confusion)


def _figures(label: str, index: int, confusion: tuple[tuple[int, ...], ...]) -> ClassFigures:
    right, support, guesses = confusion[index][index], sum(confusion[index]), sum(row[index] for row in confusion)
    return ClassFigures(
        label,
        right / guesses if guesses else None,
        right / support if support else None,
        2 * right / (guesses + support),
        support,
    )


def _file(path: Path, name: str) -> Path:
    if not path.is_dir():
        return path
    return next(
        (file for suffix in (".csv", ".json") if (file := path / f"{name}{suffix}").is_file()), path / f"{name}.csv"
    )


def _csv_records(file: Path, text: str, *, scores: bool) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    rows = csv.reader(text.splitlines())
    columns: list[str] | None = None
    width = 0
    for row in rows:
        place = f"line {rows.line_num}"
        if not any(cell.strip() for cell in row):
            continue
        if not width:
            width = len(row)
            if row[0].strip().lower() in _ID_NAMES:
                columns = [cell.strip().lower() for cell in row]
                continue
        if len(row) != width or width < 2:
            expected = f"{width}, as in the first line" if width > 1 else "id,label and perhaps more"
            raise InvalidRequest(f"{file}, {place}: {len(row)} columns; expected {expected}.")
        cells = dict(zip(columns or _columns(width, scores=scores), row, strict=False))
        labels = tuple((cells.get("label") or cells.get("labels") or "").split())
        _check(file, place, cells, labels)
        yield place, row[0].strip(), labels


def _columns(width: int, *, scores: bool) -> list[str]:
    """Return the names of the columns of a file without header."""
    return (["id", "label", "confidence", "bounds"] if scores else ["id", "label", "bounds"])[:width]


def _check(file: Path, place: str, cells: Mapping[str, str], labels: tuple[str, ...]) -> None:
    """Check confidences and bounds, if there are any: one number, or four numbers, for each label."""
    if not labels:
        raise InvalidRequest(f"{file}, {place}: the label is missing.")
    for column, count in (("confidence", 1), ("bounds", _BOUNDS)):
        values = cells.get(column, "").split()
        if values and (len(values) != count * len(labels) or not all(map(_is_number, values))):
            raise InvalidRequest(
                f"{file}, {place}: {cells[column]!r:.60} is not valid as {column}; expected {count * len(labels)} numbers."
            )


def _json_records(file: Path, text: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    try:
        items: list[Any] = json.loads(text)["items"]
        for index, item in enumerate(items):
            labels = tuple(str(value["label"]) for value in item["values"])
            yield f"items[{index}]", str(item["recordId"]), labels
    except (ValueError, KeyError, TypeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise InvalidRequest(
            f"{file} is not a list of records ({reason}); expected "
            '{"items": [{"recordId": "a", "values": [{"label": "7"}]}]}.'
        ) from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_fraction(label: str) -> bool:
    return _is_number(label) and not float(label).is_integer()


def _natural(label: str) -> tuple[bool, float, str]:
    """Return a key that puts numbers in their order, and before words."""
    return (False, float(label), label) if _is_number(label) else (True, 0.0, label)
