"""Entities to the JSON of requests. It differs from that of answers: infinities have a name here, and nothing is left out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any

from mistk_service.tracking.values import DatasetInput, LoggedModelOrder, Metric, Param, Tag
from mistk_service.tracking.values.light import Point

__all__ = ["dataset_inputs", "logged_model_order", "metrics", "pairs"]

Json = dict[str, Any]


def metrics(points: Sequence[Metric | Point]) -> list[Json]:
    """Return points; nearly all have a finite value and belong to no model and no dataset."""
    return [
        {"key": point.key, "value": point.value, "timestamp": point.timestamp, "step": point.step}
        if point.model_id is None and point.dataset_name is None and isfinite(point.value)
        else _metric(point)
        for point in points
    ]


def _metric(point: Metric | Point) -> Json:
    wire: Json = {
        "key": point.key,
        "value": _number(point.value),
        "timestamp": point.timestamp,
        "step": point.step,
        "model_id": point.model_id,
        "dataset_name": point.dataset_name,
        "dataset_digest": point.dataset_digest,
    }
    return {name: value for name, value in wire.items() if value is not None}


def _number(value: float) -> float | str:
    if isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def pairs(items: Iterable[Tag | Param]) -> list[Json]:
    """Return tags or params."""
    return [{"key": item.key, "value": item.value} for item in items]


def dataset_inputs(inputs: Iterable[DatasetInput]) -> list[Json]:
    """Return the datasets that a run uses."""
    return [{"dataset": _dataset(use), "tags": pairs(use.tags)} for use in inputs]


def _dataset(use: DatasetInput) -> Json:
    item = use.dataset
    wire = {
        "name": item.name,
        "digest": item.digest,
        "source_type": item.source_type,
        "source": item.source,
        "schema": item.schema,
        "profile": item.profile,
    }
    return {name: value for name, value in wire.items() if value is not None}


def logged_model_order(orders: Iterable[LoggedModelOrder]) -> list[Json]:
    """Return the keys that a search for logged models is ordered by."""
    found = []
    for order in orders:
        wire = {
            "field_name": order.field_name,
            "ascending": order.ascending,
            "dataset_name": order.dataset_name,
            "dataset_digest": order.dataset_digest,
        }
        found.append({name: value for name, value in wire.items() if value is not None})
    return found
