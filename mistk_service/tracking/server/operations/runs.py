"""Runs, what is logged to them, and the histories of their metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

from mistk_service.tracking import wire
from mistk_service.tracking.errors import InvalidParameter
from mistk_service.tracking.server.operations._base import Json, OperationsBase, brief, readable_experiments, run_id_of
from mistk_service.tracking.server.pieces import in_pieces, joined
from mistk_service.tracking.values import Param, RunStatus, Tag, ViewType
from mistk_service.tracking.values.limits import INTERVAL_RUNS, MAX_PAGE, MAX_POINTS_PAGE, check_run_ids
from mistk_service.tracking.wire import Fields


class RunOperations(OperationsBase):
    """The operations under ``runs/`` and ``metrics/``."""

    async def log_metric(self, fields: Fields) -> Json:
        run_id, metric = run_id_of(fields), wire.read_metric(fields)
        await asyncio.wrap_future(self._store.submit_batch(run_id, metrics=(metric,)))
        return {}

    async def log_param(self, fields: Fields) -> Json:
        run_id = run_id_of(fields)
        param = Param(fields.required_text("key"), fields.text("value") or "")
        await asyncio.wrap_future(self._store.submit_batch(run_id, params=(param,)))
        return {}

    async def set_tag(self, fields: Fields) -> Json:
        run_id = run_id_of(fields)
        tag = Tag(fields.required_text("key"), fields.text("value") or "")
        await asyncio.wrap_future(self._store.submit_batch(run_id, tags=(tag,)))
        return {}

    async def log_batch(self, fields: Fields) -> Json:
        batch = self._store.submit_batch(
            fields.required_text("run_id"), wire.read_metrics(fields), wire.read_params(fields), wire.read_tags(fields)
        )
        await asyncio.wrap_future(batch)
        return {}

    async def create_run(self, fields: Fields) -> Json:
        submitted = self._store.submit_run(
            fields.required_identifier("experiment_id"),
            user_id=fields.text("user_id") or "",
            run_name=fields.text("run_name") or "",
            start_time=fields.int64("start_time") or 0,
            tags=wire.read_tags(fields),
        )
        return {"run": wire.run(await asyncio.wrap_future(submitted), outputs=False)}

    @brief
    def get_run(self, fields: Fields) -> Json:
        return {"run": wire.run(self._store.get_run(run_id_of(fields)))}

    def update_run(self, fields: Fields) -> Json:
        info = self._store.update_run(
            run_id_of(fields),
            status=fields.enum("status", RunStatus),
            end_time=fields.int64("end_time"),
            run_name=fields.text("run_name"),
        )
        return {"run_info": wire.run_info(info)}

    def delete_run(self, fields: Fields) -> Json:
        self._store.delete_run(fields.required_text("run_id"))
        return {}

    def restore_run(self, fields: Fields) -> Json:
        self._store.restore_run(fields.required_text("run_id"))
        return {}

    def search_runs(self, fields: Fields) -> Iterator[bytes]:
        max_results = fields.int64("max_results")
        search = partial(
            self._store.search_runs,
            readable_experiments(fields),
            filter=fields.text("filter") or "",
            view_type=fields.enum("run_view_type", ViewType) or ViewType.ACTIVE_ONLY,
            order_by=fields.texts("order_by"),
        )
        yield from in_pieces(
            "runs",
            lambda count, token: search(max_results=count, page_token=token),
            lambda found: list(map(wire.run, found)),
            1000 if max_results is None else max_results,
            MAX_PAGE,
            fields.text("page_token") or None,
        )

    def delete_tag(self, fields: Fields) -> Json:
        self._store.delete_tag(fields.required_text("run_id"), fields.required_text("key"))
        return {}

    def log_inputs(self, fields: Fields) -> Json:
        self._store.log_inputs(
            fields.required_text("run_id"), wire.read_dataset_inputs(fields), wire.read_model_inputs(fields)
        )
        return {}

    def log_outputs(self, fields: Fields) -> Json:
        run_id = fields.required_text("run_id")
        if not fields.has("models"):
            raise fields.missing("models")
        self._store.log_outputs(run_id, wire.read_model_outputs(fields))
        return {}

    def log_model(self, fields: Fields) -> Json:
        """Add a model to the run's history."""
        self._store.record_model(run_id_of(fields), fields.required_text("model_json"))
        return {}

    def get_metric_history(self, fields: Fields) -> Iterator[bytes]:
        run_id, key = run_id_of(fields), fields.required_text("metric_key")
        max_results = fields.int64("max_results")
        yield from in_pieces(
            "metrics",
            lambda count, token: self._store.get_metric_history(run_id, key, max_results=count, page_token=token),
            wire.metrics,
            MAX_POINTS_PAGE if max_results is None else max_results,
            MAX_POINTS_PAGE,
            fields.text("page_token") or None,
        )

    def get_metric_history_bulk(self, fields: Fields) -> Json:
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
        run_ids = fields.required("run_ids", fields.texts("run_ids") or None)
        run_ids = check_run_ids(run_ids, INTERVAL_RUNS)
        sample = partial(
            self._store.get_metric_history_interval,
            key=fields.required_text("metric_key"),
            start_step=fields.int64("start_step"),
            end_step=fields.int64("end_step"),
            max_results=2500 if max_results is None else max_results,
        )
        yield from joined("metrics", (wire.metrics(sample([run_id])) for run_id in run_ids))

    def get_metric_columns(self, fields: Fields) -> Iterator[bytes]:
        """Get a metric of several runs, reduced to the width of a chart."""
        columns = fields.int64("columns")
        run_ids = fields.required("run_ids", fields.texts("run_ids") or None)
        draw = partial(
            self._store.get_metric_columns,
            key=fields.required_text("metric_key"),
            x=fields.text("x") or "step",
            start=fields.int64("start"),
            end=fields.int64("end"),
            columns=1000 if columns is None else columns,
        )
        yield from joined("curves", (list(map(wire.curve, draw([each]))) for each in check_run_ids(run_ids)))
