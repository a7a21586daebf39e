"""Comparison of the metric points of two stores."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from itertools import chain

from mistk_service.tracking.errors import NotSupported
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.values import Metric
from mistk_service.tracking.values.page import pages

#: Value, timestamp and step; NaN is None, since it equals nothing, itself included.
Point = tuple[float | None, int, int]

#: Points in a page of a history, as MLflow's own client requests them.
_PAGE = 25_000


def point_of(metric: Metric) -> Point:
    """Return the identity of a point. Infinities become the largest numbers, as MLflow returns them."""
    value = metric.value
    if math.isnan(value):
        return None, metric.timestamp, metric.step
    if math.isinf(value):
        value = math.copysign(sys.float_info.max, value)
    return value, metric.timestamp, metric.step


def history(store: Store, run_id: str, key: str) -> Iterator[Metric]:
    """Yield all points of a metric, page by page."""
    return chain.from_iterable(pages(lambda token: store.get_metric_history(run_id, key, _PAGE, token)))


def missing(store: Store, run_id: str, key: str, metrics: Iterable[Metric]) -> Iterator[Metric]:
    """Yield the points of a metric that a store does not have, each once.

    Args:
        store: the store.
        run_id: the run's id in that store.
        key: the metric.
        metrics: points of it, in the order in which they are sent.
    """
    try:
        known = {point_of(metric) for metric in history(store, run_id, key)}
    except NotSupported:
        metrics, known = _after_the_latest(store, run_id, key, list(metrics)), set()
    yield from _new(metrics, known)


def missing_points(store: Store, run_id: str, metrics: Iterable[Metric]) -> list[Metric]:
    """Return the points of any metrics that a store does not have, each once; see :func:`missing`."""
    by_key: dict[str, list[Metric]] = {}
    for metric in metrics:
        by_key.setdefault(metric.key, []).append(metric)
    return [metric for key, points in by_key.items() for metric in missing(store, run_id, key, points)]


def without_repeats(metrics: Iterable[Metric]) -> list[Metric]:
    """Return points of any metrics, each once."""
    known: dict[str, set[Point]] = {}
    return [metric for metric in metrics if any(_new([metric], known.setdefault(metric.key, set())))]


def _new(metrics: Iterable[Metric], known: set[Point]) -> Iterator[Metric]:
    for metric in metrics:
        point = point_of(metric)
        if point not in known:
            known.add(point)
            yield metric


def _after_the_latest(store: Store, run_id: str, key: str, metrics: list[Metric]) -> list[Metric]:
    """Return the points after the latest that a store has, for a store without metric histories.

    Points are sent in order, so that all points before the latest have arrived.
    """
    latest = [point_of(metric) for metric in store.get_run(run_id).data.metrics if metric.key == key]
    places = [place for place, metric in enumerate(metrics) if point_of(metric) in latest]
    return metrics[places[-1] + 1 :] if places else metrics
