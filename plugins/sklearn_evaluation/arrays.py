"""Turns records into the arrays that the functions of scikit-learn take, for each type of assessment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import MultiLabelBinarizer

from mistk_service import RequestError

from .records import Record

__all__ = ["ASSESSMENTS", "Arrays"]

#: The confidence in the predicted one of two labels is at least this.
_EVEN = 0.5

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Arrays:
    """The data of an assessment.

    Attributes:
        truth: the true labels: one for each record, or an indicator matrix.
        predicted: the predicted labels, likewise.
        classes: the labels, sorted; empty for a regression. The last of two is the positive one.
        scores: the scores of the positive class, or a matrix with those of each class; None if there are none.
    """

    truth: NDArray[Any]
    predicted: NDArray[Any]
    classes: tuple[Any, ...] = ()
    scores: Floats | None = None


def _binary(predicted: Sequence[Record], truth: Sequence[Record]) -> Arrays:
    y_true, y_pred, classes = _single_labels(predicted, truth)
    if len(classes) > 2:
        raise RequestError(
            f"assessment_type: there are {len(classes)} labels, such as {classes[0]!r}, {classes[1]!r} and {classes[2]!r}; "
            "expected two for BinaryClassification.",
            field="assessment_type",
        )
    scores = _scores(predicted, (1, 2))
    if scores is None:
        return Arrays(y_true, y_pred, classes)
    positive = scores[:, -1]
    # One number is the confidence in the predicted label, unless a low one shows that it is that in the positive class.
    if scores.shape[1] == 1 and positive.min() >= _EVEN:
        positive = np.where(y_pred == classes[-1], positive, 1 - positive)
    return Arrays(y_true, y_pred, classes, positive)


def _multiclass(predicted: Sequence[Record], truth: Sequence[Record]) -> Arrays:
    y_true, y_pred, classes = _single_labels(predicted, truth)
    truths, predictions = (np.equal.outer(labels, np.array(classes)).astype(int) for labels in (y_true, y_pred))
    scores = _scores(predicted, (1, len(classes)))
    if scores is not None and scores.shape[1] < len(classes):
        # What is left of the confidence in the predicted label is shared evenly by the others.
        scores = np.where(np.equal.outer(y_pred, np.array(classes)), scores, (1 - scores) / (len(classes) - 1))
    return Arrays(truths, predictions, classes, scores)


def _multilabel(predicted: Sequence[Record], truth: Sequence[Record]) -> Arrays:
    classes = tuple(sorted({label for record in (*predicted, *truth) for label in record.labels}))
    indicators = MultiLabelBinarizer(classes=classes)
    truths, predictions = (
        indicators.fit_transform([record.labels for record in records]) for records in (truth, predicted)
    )
    if not any(record.scores for record in predicted):
        return Arrays(truths, predictions, classes)
    scores = np.zeros((len(predicted), len(classes)))
    for row, record in enumerate(predicted):
        _require_scores(record, (len(record.labels),))
        scores[row, [classes.index(label) for label in record.labels]] = record.scores
    return Arrays(truths, predictions, classes, scores)


def _regression(predicted: Sequence[Record], truth: Sequence[Record]) -> Arrays:
    return Arrays(_numbers(truth, "ground_truth_path"), _numbers(predicted, "input_data_path"))


#: The types of assessment. Each function takes the predictions and the truth for the same records.
ASSESSMENTS: dict[str, Callable[[Sequence[Record], Sequence[Record]], Arrays]] = {
    "BinaryClassification": _binary,
    "MulticlassClassification": _multiclass,
    "MultilabelClassification": _multilabel,
    "Regression": _regression,
}


def _single_labels(
    predicted: Sequence[Record], truth: Sequence[Record]
) -> tuple[NDArray[Any], NDArray[Any], tuple[Any, ...]]:
    """Return the true labels, the predicted ones, and the classes. Labels that are all integers become integers."""
    texts = [_single(record, "ground_truth_path") for record in truth]
    texts += [_single(record, "input_data_path") for record in predicted]
    labels = np.array([int(text) for text in texts] if all(map(_is_integer, texts)) else texts)
    return labels[: len(truth)], labels[len(truth) :], tuple(np.unique(labels).tolist())


def _is_integer(text: str) -> bool:
    return text.lstrip("-").isdecimal() and text == str(int(text)) and abs(int(text)) < 2**63


def _single(record: Record, field: str) -> str:
    if len(record.labels) != 1:
        raise RequestError(
            f"{field}: {record.place} has {len(record.labels)} labels; expected one, unless the assessment type is "
            "MultilabelClassification.",
            field=field,
        )
    return record.labels[0]


def _numbers(records: Sequence[Record], field: str) -> Floats:
    return np.array([_number(_single(record, field), record.place, field) for record in records])


def _number(label: str, place: str, field: str) -> float:
    try:
        number = float(label)
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise RequestError(f"{field}: {place}: the label is {label!r:.60}; expected a finite number.", field=field)
    return number


def _scores(predicted: Sequence[Record], counts: tuple[int, ...]) -> Floats | None:
    """Return the confidences, one row a record; None if there are none. Each row has the same number, one of ``counts``."""
    if not any(record.scores for record in predicted):
        return None
    _require_scores(predicted[0], counts)
    for record in predicted:
        _require_scores(record, (len(predicted[0].scores),))
    return np.array([record.scores for record in predicted])


def _require_scores(record: Record, counts: tuple[int, ...]) -> None:
    if len(record.scores) not in counts:
        expected = " or ".join(map(str, dict.fromkeys(counts)))
        raise RequestError(
            f"input_data_path: {record.place} has {len(record.scores)} confidences; expected {expected}, or none in the whole "
            "file.",
            field="input_data_path",
        )
