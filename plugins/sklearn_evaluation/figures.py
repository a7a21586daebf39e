"""Draws the confusion matrix, ROC and precision-recall curves, and predictions over the truth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import ConfusionMatrixDisplay, PrecisionRecallDisplay, RocCurveDisplay, confusion_matrix

from .arrays import Arrays

__all__ = ["drawn"]

mpl.use("Agg")  # scikit-learn's displays load pyplot, which would look for a display

#: Labels that have a curve each, and labels of a matrix whose cells show their numbers.
_CURVES, _NUMBERED = 10, 20


def drawn(data: Arrays) -> Iterator[tuple[str, Figure]]:
    """Yield the figures for an assessment, with the names of their files."""
    if not data.classes:
        yield "predictions.png", _scatter(data)
        return
    if len(data.classes) > 1 and not _is_multilabel(data):
        yield "confusion_matrix.png", _matrix(data)
    if data.scores is not None and len(data.classes) > 1:
        yield "roc_curve.png", _curves(data, RocCurveDisplay, "ROC")
        yield "precision_recall_curve.png", _curves(data, PrecisionRecallDisplay, "Precision and recall")


def _is_multilabel(data: Arrays) -> bool:
    return data.truth.ndim == 2 and not (
        (data.truth.sum(axis=1) == 1).all() and (data.predicted.sum(axis=1) == 1).all()
    )


def _figure(title: str, size: float = 6.0) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    return figure, axes


def _matrix(data: Arrays) -> Figure:
    count = len(data.classes)
    figure, axes = _figure("Confusion matrix", min(6.0 + 0.2 * count, 20.0))
    truth, predicted = (_indices(labels, data) for labels in (data.truth, data.predicted))
    matrix = confusion_matrix(truth, predicted, labels=range(count))
    display = ConfusionMatrixDisplay(matrix, display_labels=[str(label) for label in data.classes])
    display.plot(ax=axes, cmap="Blues", colorbar=False, include_values=count <= _NUMBERED, xticks_rotation="vertical")
    return figure


def _indices(labels: NDArray[Any], data: Arrays) -> NDArray[Any]:
    return labels.argmax(axis=1) if labels.ndim == 2 else np.searchsorted(np.array(data.classes), labels)


def _curves(data: Arrays, display: Any, title: str) -> Figure:
    """Draw the curve of the positive class, or one for each class against the others."""
    assert data.scores is not None
    figure, axes = _figure(title)
    if data.truth.ndim == 1:
        pairs = [(data.classes[-1], data.truth == data.classes[-1], data.scores)]
    else:
        pairs = [(label, data.truth[:, i], data.scores[:, i]) for i, label in enumerate(data.classes[:_CURVES])]
    for label, truth, scores in pairs:
        if 0 < truth.sum() < len(truth):  # a curve needs both
            display.from_predictions(truth.astype(int), scores, ax=axes, name=str(label))
    return figure


def _scatter(data: Arrays) -> Figure:
    figure, axes = _figure("Predictions over the truth")
    axes.scatter(data.truth, data.predicted, s=12, alpha=0.6)
    ends = [min(data.truth.min(), data.predicted.min()), max(data.truth.max(), data.predicted.max())]
    axes.plot(ends, ends, color="gray", linewidth=1)
    axes.set_xlabel("truth")
    axes.set_ylabel("predicted")
    return figure
