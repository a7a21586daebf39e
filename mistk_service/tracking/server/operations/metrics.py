"""Histories of metrics."""

from __future__ import annotations

from mistk_service.tracking import wire
from mistk_service.tracking.server.operations._base import Json, OperationsBase, run_id_of
from mistk_service.tracking.wire import Fields

__all__ = ["MetricOperations"]


class MetricOperations(OperationsBase):
    """The operations under ``metrics/``."""

    def get_metric_history(self, fields: Fields) -> Json:
        """Get the points of a metric of one run."""
        found = self._store.get_points(
            run_id_of(fields),
            fields.required_text("metric_key"),
            max_results=fields.int64("max_results"),
            page_token=fields.text("page_token") or None,
        )
        answer: Json = {"metrics": wire.points(found)} if found.items else {}
        if found.next_page_token:
            answer["next_page_token"] = found.next_page_token
        return answer

    def get_metric_history_bulk(self, fields: Fields) -> Json:
        """Get the points of a metric of several runs."""
        max_results = fields.int64("max_results")
        points = self._store.get_metric_history_bulk(
            fields.texts("run_id"),
            fields.required_text("metric_key"),
            max_results=25_000 if max_results is None else max_results,
        )
        return {"metrics": [wire.metric(point) for point in points]}

    def get_metric_history_bulk_interval(self, fields: Fields) -> Json:
        """Get a sample of the points of a metric of several runs."""
        max_results = fields.int64("max_results")
        points = self._store.get_metric_history_interval(
            fields.texts("run_ids"),
            fields.required_text("metric_key"),
            start_step=fields.int64("start_step"),
            end_step=fields.int64("end_step"),
            max_results=2500 if max_results is None else max_results,
        )
        return {"metrics": [wire.metric(point) for point in points]} if points else {}
