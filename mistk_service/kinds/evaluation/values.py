"""Metrics in MISTK's vocabulary, as an evaluation plugin receives them and declares them in ``metrics.json``."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from mistk_service.errors import InvalidRequest
from mistk_service.kinds.values import ObjectInfo


class _Value(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A value with snake_case attributes and camelCase keys on the wire. Unknown keys are dropped."""


class MetricDataParameters(_Value):
    """The arguments of a metric's method that take the data; None if there is no such argument.

    Attributes:
        prediction_labels: the name of the argument that takes the predicted labels.
        truth_labels: that of the true labels.
        prediction_scores: that of the scores of the predictions.
        truth_bounds: that of the true bounds.
        prediction_bounds: that of the predicted bounds.
    """

    prediction_labels: str | None = None
    truth_labels: str | None = None
    prediction_scores: str | None = None
    truth_bounds: str | None = None
    prediction_bounds: str | None = None


class Metric(_Value):
    """A way to measure predictions.

    Attributes:
        object_info: its name, kind and so on.
        implementation_reference: another object that implements it.
        package: the Python package with the method.
        method: the function to call.
        default_args: default values for its arguments.
        data_parameters: the arguments that take the data.
        assessment_types: the types of assessment that it is meant for.
        version: the version of the metric.
        properties: further settings.
    """

    object_info: ObjectInfo
    implementation_reference: dict[str, Any] | None = None
    package: str | None = None
    method: str | None = None
    default_args: dict[str, Any] | None = None
    data_parameters: MetricDataParameters | None = None
    assessment_types: list[str] | None = None
    version: str | None = None
    properties: dict[str, Any] | None = None

    @classmethod
    def from_wire(cls, wire: Any, field: str) -> Metric:
        """Build it from the JSON object of the wire.

        Args:
            wire: the object.
            field: its place, for error messages.

        Raises:
            InvalidRequest: it is not a metric.
        """
        info = wire.get("objectInfo") if isinstance(wire, Mapping) else None
        if not isinstance(info, Mapping) or not isinstance(info.get("name"), str):
            raise InvalidRequest(
                f"{field}.objectInfo.name: {wire!r:.80} is not a metric with a name; expected an object such as "
                '{"objectInfo": {"name": "accuracy_score"}, "package": "sklearn.metrics", "method": "accuracy_score"}.',
                field=f"{field}.objectInfo.name",
            )
        try:
            return msgspec.convert({**wire, "objectInfo": dataclasses.asdict(ObjectInfo.from_wire(info))}, cls)
        except msgspec.ValidationError as error:
            raise InvalidRequest(f"{field}: {error}.", field=field) from error

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON object of the wire, with the kind ``MistkMetric`` and without unset fields."""
        info = {**self.object_info.to_wire(), "kind": "MistkMetric"}
        return {**msgspec.to_builtins(self), "objectInfo": info}


def metrics_of(wire: Iterable[Any]) -> list[Metric]:
    """Return the metrics of a request or a file.

    Raises:
        InvalidRequest: one is malformed.
    """
    return [Metric.from_wire(each, f"metrics[{index}]") for index, each in enumerate(wire)]


def declared_metrics(plugin: type[Any]) -> list[dict[str, Any]]:
    """Return the metrics in the file ``metrics.json`` next to the module of a class, or of the nearest base with such a file.

    Raises:
        InvalidRequest: the file cannot be read, or is not a list of metrics.
    """
    for cls in plugin.__mro__:
        if cls.__module__ != "builtins" and (file := Path(inspect.getfile(cls)).with_name("metrics.json")).is_file():
            return [metric.to_wire() for metric in _metrics_in(file)]
    return []


def _metrics_in(file: Path) -> list[Metric]:
    try:
        listed = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{file} cannot be read: {error}; expected a JSON list of metrics.") from error
    if not isinstance(listed, list):
        raise InvalidRequest(f"{file} holds {listed!r:.80}; expected a JSON list of metrics.")
    try:
        return metrics_of(listed)
    except InvalidRequest as error:
        raise InvalidRequest(f"{file}: {error}") from error
