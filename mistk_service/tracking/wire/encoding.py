"""Converts values to MLflow's JSON, for responses and for requests.

Each function returns what :mod:`msgspec` encodes as the JSON object: the value itself where its fields are those of the JSON,
else a dictionary. Unset fields and empty lists are left out. JSON has neither NaN nor infinities: NaN is the string ``"NaN"``,
and the infinities are the largest finite doubles in an answer, which is what MLflow answers, and strings in a request.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from math import isfinite
from typing import Any

import msgspec

from mistk_service.tracking.values import (
    Curve,
    Experiment,
    LoggedModel,
    LoggedModelOrder,
    Metric,
    ModelVersion,
    RegisteredModel,
    Run,
    RunInfo,
)

__all__ = [
    "curve",
    "experiment",
    "listed_version",
    "logged_model",
    "logged_model_order",
    "metric",
    "metrics",
    "model_version",
    "registered_model",
    "requested_metrics",
    "run",
    "run_info",
]

Json = dict[str, Any]

_LARGEST = sys.float_info.max

#: The JSON for doubles that JSON cannot express.
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _present(item: msgspec.Struct, **instead: Any) -> Json:
    """Return the fields that are set, some of them replaced or added; an empty string is set, an empty list is not."""
    fields = {**msgspec.structs.asdict(item), **instead}
    return {key: value for key, value in fields.items() if value is not None and value not in ((), [])}


def metric(point: Metric) -> Metric | Json:
    """Return a metric of an answer."""
    if isfinite(point.value):
        return point
    return _present(point, value="NaN" if math.isnan(point.value) else math.copysign(_LARGEST, point.value))


def metrics(points: Iterable[Metric]) -> list[Metric | Json]:
    """Return the metrics of an answer; a history may have millions, nearly all of which are encoded unchanged."""
    return [point if isfinite(point.value) else metric(point) for point in points]


def requested_metrics(points: Iterable[Metric]) -> list[Metric | Json]:
    """Return the metrics of a request, which names their run itself."""
    return [point if isfinite(point.value) and point.run_id is None else _requested_metric(point) for point in points]


def curve(item: Curve) -> Curve | Json:
    """Return a curve. This is not MLflow's operation, so infinities keep their sign as strings."""
    if not item.not_finite and all(isfinite(value) for _, value in item.points):
        return item
    return _present(
        item,
        points=[(x, value if isfinite(value) else _NOT_FINITE[str(value)]) for x, value in item.points],
        not_finite=[(x, _NOT_FINITE[str(value)], count) for x, value, count in item.not_finite],
    )


def _requested_metric(point: Metric) -> Json:
    value = point.value if isfinite(point.value) else _NOT_FINITE[str(point.value)]
    return _present(point, value=value, run_id=None)


def experiment(item: Experiment) -> Json:
    """Return an experiment."""
    return _present(item, workspace="default")


def run_info(info: RunInfo) -> Json:
    """Return the description of a run; ``run_uuid`` repeats the id for old clients."""
    wire: Json = {
        "run_id": info.run_id,
        "run_uuid": info.run_id,
        "run_name": info.run_name,
        "experiment_id": info.experiment_id,
        "user_id": info.user_id,
        "status": info.status.name,
        "start_time": info.start_time,
        "artifact_uri": info.artifact_uri,
        "lifecycle_stage": info.lifecycle_stage,
    }
    if info.end_time is not None:
        wire["end_time"] = info.end_time
    return wire


def run(item: Run, *, outputs: bool = True) -> Json:
    """Return a run; ``data`` and ``inputs`` are always there, ``outputs`` unless the caller leaves them out."""
    data: Json = {}
    if item.data.metrics:
        data["metrics"] = metrics(item.data.metrics)
    if item.data.params:
        data["params"] = item.data.params
    if item.data.tags:
        data["tags"] = item.data.tags
    wire: Json = {"info": run_info(item.info), "data": data, "inputs": item.inputs}
    if outputs:
        wire["outputs"] = item.outputs
    return wire


def registered_model(item: RegisteredModel) -> Json:
    """Return a registered model with the latest version of each stage."""
    return _present(item, latest_versions=list(map(listed_version, item.latest_versions)))


def model_version(item: ModelVersion) -> Json:
    """Return a version of a registered model."""
    return _present(
        item,
        status=item.status.name,
        model_params=[{"name": param.key, "value": param.value} for param in item.model_params],
        model_metrics=metrics(item.model_metrics),
    )


def listed_version(item: ModelVersion) -> Json:
    """Return a version as searches show it, without its aliases: which some clients cannot parse there."""
    return {key: value for key, value in model_version(item).items() if key != "aliases"}


def logged_model(item: LoggedModel) -> Json:
    """Return a logged model."""
    info = _present(
        item,
        status=item.status.name,
        creation_timestamp=None,
        creation_timestamp_ms=item.creation_timestamp,
        last_updated_timestamp=None,
        last_updated_timestamp_ms=item.last_updated_timestamp,
        params=None,
        metrics=None,
    )
    data = {"params": item.params, "metrics": metrics(item.metrics)}
    return {"info": info, "data": {key: value for key, value in data.items() if value}}


def logged_model_order(orders: Iterable[LoggedModelOrder]) -> list[Json]:
    """Return the keys that a search for logged models is ordered by."""
    return [_present(order) for order in orders]
