"""Computes metrics: checks what a request asks for, and calls the functions of scikit-learn."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import sklearn.metrics

from mistk_service import Metric, MetricDataParameters, RequestError

from .arrays import Arrays

__all__ = ["checked", "measured", "numbers"]

_PACKAGE = "sklearn.metrics"

#: The labels of a matrix whose cells become metrics of the run.
_MAX_LABELS = 10


def checked(metrics: Sequence[Metric], declared: Mapping[str, Metric], assessment_type: str) -> list[Metric]:
    """Return the metrics to compute. One that has only a name is the declared one of that name.

    Raises:
        RequestError: a metric does not exist, or is not meant for the type of assessment.
    """
    if not metrics:
        raise RequestError("metrics: the list is empty; expected at least one metric.", field="metrics")
    found = []
    for index, metric in enumerate(metrics):
        name, field = metric.object_info.name or "", f"metrics[{index}]"
        whole = declared.get(name) if metric.package is None and metric.method is None else metric
        if whole is None:
            known = ", ".join(declared)
            raise RequestError(f"{field}: there is no metric {name!r}; expected one of {known}.", field=field)
        if whole.assessment_types and assessment_type not in whole.assessment_types:
            meant = " or ".join(whole.assessment_types)
            raise RequestError(f"{field}: {name} is for {meant}, not for {assessment_type}.", field=field)
        _function(whole, field)
        found.append(whole)
    return found


def _function(metric: Metric, field: str) -> Callable[..., Any]:
    if metric.package != _PACKAGE:
        raise RequestError(f"{field}.package: {metric.package!r}; expected {_PACKAGE!r}.", field=f"{field}.package")
    function = getattr(sklearn.metrics, metric.method or "", None)
    if metric.method not in sklearn.metrics.__all__ or not inspect.isfunction(function):
        raise RequestError(
            f"{field}.method: {_PACKAGE} has no function {metric.method!r}; expected one such as 'accuracy_score'.",
            field=f"{field}.method",
        )
    return function


def measured(metric: Metric, data: Arrays, field: str) -> tuple[Any, list[str]]:
    """Return the value of a metric as JSON, and the warnings of scikit-learn.

    The value is a number, a list, or an object with a number for each label.

    Raises:
        RequestError: the metric cannot be computed from this data.
    """
    function, name = _function(metric, field), metric.object_info.name
    arguments = {**_arguments(metric, data, field), **(metric.default_args or {})}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value = function(**arguments)
        except (TypeError, ValueError) as error:
            raise RequestError(f"{field}: {name} cannot be computed: {error}", field=field) from error
    return _plain(value, data.classes), [f"{name}: {warning.message}" for warning in caught]


def _arguments(metric: Metric, data: Arrays, field: str) -> dict[str, Any]:
    names, taken = metric.data_parameters or MetricDataParameters(), _parameters(metric, field)
    arrays = {names.truth_labels: data.truth, names.prediction_labels: data.predicted}
    if names.prediction_scores is not None:
        if data.scores is None:
            raise RequestError(
                f"input_data_path: {metric.object_info.name} needs confidences, which the predictions do not have; expected a "
                "column 'confidence', or another metric.",
                field="input_data_path",
            )
        arrays[names.prediction_scores] = data.scores
    if names.truth_bounds or names.prediction_bounds:
        raise RequestError(
            f"{field}.dataParameters: no function of {_PACKAGE} takes bounds.", field=f"{field}.dataParameters"
        )
    # Releases of scikit-learn name the second argument differently: y_prob and y_pred became y_proba.
    given = {name if name in taken else taken[1]: array for name, array in arrays.items() if name is not None}
    if data.truth.ndim == 1 and len(data.classes) == 2:
        # It cannot tell which of two texts is the positive label, nor know a label that the truth lacks.
        known = {"pos_label": data.classes[-1], "labels": list(data.classes)}
        if (metric.default_args or {}).get("average", "binary") != "binary":
            del known["pos_label"]  # it would be ignored, with a warning
        given |= {name: value for name, value in known.items() if name in taken}
    return given


def _parameters(metric: Metric, field: str) -> list[str]:
    """Return the names of the function's arguments that are not deprecated."""
    parameters = inspect.signature(_function(metric, field)).parameters.values()
    return [each.name for each in parameters if each.default != "deprecated"]


def _plain(value: Any, classes: Sequence[Any]) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(each, ()) for each in value]
    array = np.asarray(value)
    if array.ndim == 1 and len(array) == len(classes):
        return {str(label): _finite(number) for label, number in zip(classes, array.tolist(), strict=True)}
    return _finite(array.tolist())


def _finite(value: Any) -> Any:
    """Return numbers for JSON, which has neither NaN nor infinities: they become null."""
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return value if math.isfinite(value) else None


def numbers(name: str, value: Any, classes: Sequence[Any]) -> dict[str, float]:
    """Return the numbers of a value as metrics of a run, by name. Curves, and matrices of many labels, have none."""
    if value is None:
        return {name: math.nan}
    if isinstance(value, int | float):
        return {name: value}
    if isinstance(value, dict):
        return {f"{name}/{label}": math.nan if each is None else each for label, each in value.items()}
    if len(value) == len(classes) <= _MAX_LABELS and all(len(row) == len(classes) for row in value):
        return {
            f"{name}/{actual}/{predicted}": cell
            for actual, row in zip(classes, value, strict=True)
            for predicted, cell in zip(classes, row, strict=True)
        }
    return {}
