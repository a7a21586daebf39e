"""Histories of metrics."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from mistk_service.tracking import wire
from mistk_service.tracking.errors import InvalidParameter
from mistk_service.tracking.server.operations._base import Json, OperationsBase, run_id_of
from mistk_service.tracking.server.pieces import in_pieces, joined
from mistk_service.tracking.values.limits import INTERVAL_RUNS, check_run_ids
from mistk_service.tracking.wire import Fields

__all__ = ["MetricOperations"]

#: The most points of a history that can be asked for at once.
_LARGEST_PAGE = 2**31 - 1


class MetricOperations(OperationsBase):
    """The operations under ``metrics/``."""

    def get_metric_history(self, fields: Fields) -> Iterator[bytes]:
        """Get the points of a metric of one run."""
        run_id, key = run_id_of(fields), fields.required_text("metric_key")
        max_results = fields.int64("max_results")
        yield from in_pieces(
            "metrics",
            lambda count, token: self._store.get_metric_history(run_id, key, max_results=count, page_token=token),
            wire.metrics,
            _LARGEST_PAGE if max_results is None else max_results,
            _LARGEST_PAGE,
            fields.text("page_token") or None,
        )

    def get_metric_history_bulk(self, fields: Fields) -> Json:
        """Get the points of a metric of several runs."""
        max_results = fields.int64("max_results")
        run_ids, key = fields.texts("run_id"), fields.text("metric_key")
        if not run_ids:
            raise InvalidParameter("GetMetricHistoryBulk request must specify at least one run_id.", field="run_id")
        if not key:
            raise InvalidParameter("GetMetricHistoryBulk request must specify a metric_key.", field="metric_key")
        points = self._store.get_metric_history_bulk(
            run_ids,
            key,
            max_results=25_000 if max_results is None else max_results,
        )
        return {"metrics": wire.metrics(points)}

    def get_metric_history_bulk_interval(self, fields: Fields) -> Iterator[bytes]:
        """Get a sample of the points of a metric of several runs."""
        max_results = fields.int64("max_results")
        run_ids = fields.texts("run_ids")
        if not run_ids:
            raise fields.missing("run_ids")
        run_ids = check_run_ids(run_ids, INTERVAL_RUNS)
        sample = partial(
            self._store.get_metric_history_interval,
            key=fields.required_text("metric_key"),
            start_step=fields.int64("start_step"),
            end_step=fields.int64("end_step"),
            max_results=2500 if max_results is None else max_results,
        )
        yield from joined("metrics", (wire.metrics(sample([run_id])) for run_id in run_ids))
