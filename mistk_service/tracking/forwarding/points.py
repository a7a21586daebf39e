"""Metric points as two stores have them, made comparable."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Iterator
from typing import Protocol

from mistk_service.tracking.entities import Metric, Run
from mistk_service.tracking.errors import NotSupported
from mistk_service.tracking.paging import Page

__all__ = ["Point", "history", "known_points", "point_of"]

#: (timestamp, step, value); NaN is None, since it equals nothing, itself included.
Point = tuple[int, int, float | None]

#: Points in a page of a history, which is what MLflow's own client asks for.
_PAGE = 25_000


class _Histories(Protocol):
    def get_metric_history(
        self, run_id: str, key: str, max_results: int | None = None, page_token: str | None = None
    ) -> Page[Metric]: ...
    def get_run(self, run_id: str) -> Run: ...


def point_of(metric: Metric) -> Point:
    """Return what a point is told apart by; the infinities are the largest numbers, as MLflow gives them back."""
    value = metric.value
    if math.isnan(value):
        return metric.timestamp, metric.step, None
    if math.isinf(value):
        value = math.copysign(sys.float_info.max, value)
    return metric.timestamp, metric.step, value


def history(store: _Histories, run_id: str, key: str) -> Iterator[Metric]:
    """Return all points of a metric, page by page."""
    token: str | None = None
    while True:
        page = store.get_metric_history(run_id, key, _PAGE, token)
        yield from page
        token = page.next_page_token
        if token is None:
            return


def known_points(store: _Histories, run_id: str, keys: Collection[str]) -> dict[str, set[Point]]:
    """Return the points that a store has of some metrics of a run."""
    try:
        return {key: {point_of(metric) for metric in history(store, run_id, key)} for key in keys}
    except NotSupported:
        # Better than nothing: what was sent last is what may be there without anybody knowing.
        latest = store.get_run(run_id).data.metrics
        return {key: {point_of(metric) for metric in latest if metric.key == key} for key in keys}
