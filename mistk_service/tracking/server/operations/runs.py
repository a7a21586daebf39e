"""Runs and what is logged to them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

from mistk_service.tracking import wire
from mistk_service.tracking.server.operations._base import Json, OperationsBase, brief, run_id_of
from mistk_service.tracking.server.pieces import in_pieces
from mistk_service.tracking.values import Param, RunStatus, Tag, ViewType
from mistk_service.tracking.wire import Fields

__all__ = ["RunOperations"]

#: The most runs that can be asked for at once.
_LARGEST_PAGE = 50_000


class RunOperations(OperationsBase):
    """The operations under ``runs/``."""

    async def log_metric(self, fields: Fields) -> Json:
        """Log one point of a metric."""
        run_id, metric = run_id_of(fields), wire.read_metric(fields)
        await asyncio.wrap_future(self._store.submit_batch(run_id, metrics=(metric,)))
        return {}

    async def log_param(self, fields: Fields) -> Json:
        """Log a param."""
        run_id = run_id_of(fields)
        param = Param(fields.required_text("key"), fields.text("value") or "")
        await asyncio.wrap_future(self._store.submit_batch(run_id, params=(param,)))
        return {}

    async def set_tag(self, fields: Fields) -> Json:
        """Set a tag."""
        run_id = run_id_of(fields)
        tag = Tag(fields.required_text("key"), fields.text("value") or "")
        await asyncio.wrap_future(self._store.submit_batch(run_id, tags=(tag,)))
        return {}

    async def log_batch(self, fields: Fields) -> Json:
        """Log metrics, params and tags."""
        batch = self._store.submit_batch(
            fields.required_text("run_id"), wire.read_metrics(fields), wire.read_params(fields), wire.read_tags(fields)
        )
        await asyncio.wrap_future(batch)
        return {}

    async def create_run(self, fields: Fields) -> Json:
        """Create a run."""
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
        """Get a run."""
        return {"run": wire.run(self._store.get_run(run_id_of(fields)))}

    def update_run(self, fields: Fields) -> Json:
        """Change the status, the end time or the name."""
        info = self._store.update_run(
            run_id_of(fields),
            status=fields.enum("status", RunStatus),
            end_time=fields.int64("end_time"),
            run_name=fields.text("run_name"),
        )
        return {"run_info": wire.run_info(info)}

    def delete_run(self, fields: Fields) -> Json:
        """Mark a run deleted."""
        self._store.delete_run(fields.required_text("run_id"))
        return {}

    def restore_run(self, fields: Fields) -> Json:
        """Make a deleted run active."""
        self._store.restore_run(fields.required_text("run_id"))
        return {}

    def search_runs(self, fields: Fields) -> Iterator[bytes]:
        """Search runs."""
        max_results = fields.int64("max_results")
        search = partial(
            self._store.search_runs,
            fields.texts("experiment_ids"),
            filter=fields.text("filter") or "",
            view_type=fields.enum("run_view_type", ViewType) or ViewType.ACTIVE_ONLY,
            order_by=fields.texts("order_by"),
        )
        yield from in_pieces(
            "runs",
            lambda count, token: search(max_results=count, page_token=token),
            lambda found: list(map(wire.run, found)),
            1000 if max_results is None else max_results,
            _LARGEST_PAGE,
            fields.text("page_token") or None,
        )

    def delete_tag(self, fields: Fields) -> Json:
        """Delete a tag."""
        self._store.delete_tag(fields.required_text("run_id"), fields.required_text("key"))
        return {}

    def log_inputs(self, fields: Fields) -> Json:
        """Log the datasets and models that a run uses."""
        self._store.log_inputs(
            fields.required_text("run_id"), wire.read_dataset_inputs(fields), wire.read_model_inputs(fields)
        )
        return {}

    def log_outputs(self, fields: Fields) -> Json:
        """Log the models that a run made."""
        run_id = fields.required_text("run_id")
        if not fields.has("models"):
            raise fields.missing("models")
        self._store.log_outputs(run_id, wire.read_model_outputs(fields))
        return {}

    def log_model(self, fields: Fields) -> Json:
        """Note a model in the run's history."""
        self._store.record_model(run_id_of(fields), fields.required_text("model_json"))
        return {}
