"""Runs on a remote, and what is logged to them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

from msgspec.structs import replace

from mistk_service.tracking import wire
from mistk_service.tracking.errors import InvalidParameter, NotSupported, ResourceNotFound
from mistk_service.tracking.filters import RUNS
from mistk_service.tracking.rest import searching
from mistk_service.tracking.rest.responses import About
from mistk_service.tracking.rest.session import Session
from mistk_service.tracking.rest.substitutes import input_tags, output_tags, restored
from mistk_service.tracking.rest.transport import Transport
from mistk_service.tracking.store._runs import RunStore
from mistk_service.tracking.values import (
    Curve,
    DatasetInput,
    Metric,
    ModelInput,
    ModelOutput,
    Param,
    Run,
    RunInfo,
    RunStatus,
    Tag,
    ViewType,
)
from mistk_service.tracking.values.limits import (
    MAX_PAGE,
    MAX_POINTS_PAGE,
    check_dataset_inputs,
    check_max_results,
    check_metrics,
    check_params,
    check_run_id,
    check_run_tags,
    check_total,
    last_of_each_key,
)
from mistk_service.tracking.values.page import Page, pages

#: The length of a tag's value that every server accepts, in characters.
_SHORT = 5000
#: Runs per request when all of them are needed.
_PAGE = 1000
#: Points of a history per request.
_POINTS = 25_000

_Batch = tuple[Sequence[Metric], Sequence[Param], Sequence[Tag]]


class RestRuns(Session, RunStore):
    """The REST store's methods for runs and their data."""

    def create_run(
        self,
        experiment_id: str,
        user_id: str = "",
        run_name: str = "",
        start_time: int = 0,
        tags: Sequence[Tag] = (),
        *,
        run_id: str | None = None,
    ) -> Run:
        del run_id  # the server generates it
        check_run_tags(tags, cut=False)
        if any(len(tag.value) > _SHORT for tag in tags):
            tags = self._cut(tags)
        fields = {
            "experiment_id": experiment_id,
            "user_id": user_id or None,
            "run_name": run_name or None,
            "start_time": start_time,
            "tags": list(tags),
        }
        answer = self._http.post("runs/create", fields, About("experiment", experiment_id))
        return wire.from_answer(wire.read_run, answer, "run")

    def submit_run(
        self, experiment_id: str, user_id: str = "", run_name: str = "", start_time: int = 0, tags: Sequence[Tag] = ()
    ) -> Future[Run]:
        check_run_tags(tags, cut=False)
        return self._submit(self.create_run, experiment_id, user_id, run_name, start_time, tags)

    def get_run(self, run_id: str) -> Run:
        answer = self._http.get("runs/get", {"run_id": run_id}, _about(run_id))
        return restored(wire.from_answer(wire.read_run, answer, "run"))

    def update_run(
        self,
        run_id: str,
        status: RunStatus | None = None,
        end_time: int | None = None,
        run_name: str | None = None,
    ) -> RunInfo:
        if run_name and not self.capabilities.rename_run:
            self._log_substitute("runs keep the names that they were created with; the server cannot rename them.")
            run_name = None
        fields = {
            "run_id": run_id,
            "status": None if status is None else status.name,
            "end_time": end_time,
            "run_name": run_name or None,
        }
        answer = self._http.post("runs/update", fields, _about(run_id))
        return wire.from_answer(wire.read_run_info, answer, "run_info")

    def delete_run(self, run_id: str) -> None:
        self._http.post("runs/delete", {"run_id": run_id}, _about(run_id))

    def restore_run(self, run_id: str) -> None:
        self._http.post("runs/restore", {"run_id": run_id}, _about(run_id))

    def search_runs(
        self,
        experiment_ids: Sequence[str],
        filter: str = "",
        view_type: ViewType = ViewType.ACTIVE_ONLY,
        max_results: int = 1000,
        order_by: Sequence[str] = (),
        page_token: str | None = None,
    ) -> Page[Run]:
        check_max_results(max_results, MAX_PAGE)
        if not self.capabilities.search_filters:
            self._log_substitute(
                "searches for runs fetch all runs of the experiments and filter and order them on the client; the server "
                "ignores filters and orders."
            )
            found = (run for each in dict.fromkeys(experiment_ids) for run in all_runs(self._http, each))
            return searching.search_runs(found, filter, view_type, max_results, order_by, page_token)
        fields = {
            "experiment_ids": list(experiment_ids),
            "filter": filter or None,
            "run_view_type": view_type.name,
            "max_results": max_results,
            "order_by": list(order_by) or None,
            "page_token": page_token,
        }
        return self._search("runs/search", fields, RUNS, wire.read_run, "runs")

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric] = (),
        params: Sequence[Param] = (),
        tags: Sequence[Tag] = (),
    ) -> None:
        """Write metrics, params and tags. On MLflow's own server a batch is not atomic."""
        self._send_batch(run_id, *_checked(run_id, metrics, params, tags))

    def submit_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric] = (),
        params: Sequence[Param] = (),
        tags: Sequence[Tag] = (),
    ) -> Future[None]:
        """Write without waiting; batches are sent in the order they are submitted."""
        batch = _checked(run_id, metrics, params, tags)
        return self._submit(self._send_batch, run_id, *batch)

    def _send_batch(self, run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: Sequence[Tag]) -> None:
        separate: Sequence[Tag] = ()
        if not all(math.isfinite(point.value) for point in metrics):
            self._check_finite(metrics)
        if params:
            params = self._shortened(params)
        if tags and not (self.capabilities.batch_tags and self.capabilities.overwrites_tags):
            tags, separate = (), tags
        if metrics or params or tags or not separate:
            fields = {
                "run_id": run_id,
                "metrics": wire.requested_metrics(metrics),
                "params": list(params),
                "tags": list(tags),
            }
            self._http.post("runs/log-batch", fields, _about(run_id))
        if separate:
            self._set_tags(run_id, separate)

    def _check_finite(self, metrics: Sequence[Metric]) -> None:
        if self.capabilities.non_finite:
            return
        index = next(i for i, point in enumerate(metrics) if not math.isfinite(point.value))
        raise InvalidParameter(
            f"{self._http.server} stores finite numbers only, and the value of metrics[{index}] is {metrics[index].value}.",
            field=f"metrics[{index}].value",
        )

    def _shortened(self, params: Sequence[Param]) -> Sequence[Param]:
        longest = self.capabilities.longest_param
        if all(len(param.value) <= longest for param in params):
            return params
        self._log_substitute(f"values of params are cut to {longest} characters, the limit of the server.")
        return [Param(param.key, param.value[:longest]) for param in params]

    def _set_tags(self, run_id: str, tags: Sequence[Tag]) -> None:
        """Set tags one by one on a server where an existing tag can neither be repeated nor changed."""
        self._log_substitute(
            "tags are set one by one, and keep their first value; the server can neither batch nor change them."
        )
        run = wire.from_answer(wire.read_run, self._http.get("runs/get", {"run_id": run_id}, _about(run_id)), "run")
        present = {tag.key for tag in run.data.tags}
        for tag in self._cut(last_of_each_key(tags)):
            if not tag.value:
                self._log_substitute("tags without a value are left out; the server refuses them.")
                continue
            if tag.key in present:
                continue
            fields = {"run_id": run_id, "key": tag.key, "value": tag.value}
            self._http.post("runs/set-tag", fields, _about(run_id))

    def delete_tag(self, run_id: str, key: str) -> None:
        """Remove a tag. If the server cannot do that, the tag stays, and that is logged."""
        if not self.capabilities.delete_tag:
            self._log_substitute("tags that are deleted stay; the server cannot remove them.")
            return
        self._http.post("runs/delete-tag", {"run_id": run_id, "key": key}, _about(run_id))

    def log_inputs(self, run_id: str, datasets: Sequence[DatasetInput] = (), models: Sequence[ModelInput] = ()) -> None:
        """Record what a run uses; a server without inputs gets tags, which are read back as inputs."""
        check_dataset_inputs(datasets)
        if not self.capabilities.log_inputs:
            self._log_substitute("datasets and models that a run uses are written as tags; the server has no inputs.")
            self._set_tags(run_id, input_tags(datasets, models, self.capabilities.longest_tag))
            return
        fields = {"run_id": run_id, "datasets": list(datasets), "models": list(models)}
        self._http.post("runs/log-inputs", fields, _about(run_id))

    def log_outputs(self, run_id: str, models: Sequence[ModelOutput]) -> None:
        """Record what a run made; a server without outputs gets tags, which are read back as outputs."""
        if not self.capabilities.log_outputs:
            self._log_substitute("models that a run made are written as tags; the server has no outputs.")
            self._set_tags(run_id, output_tags(models))
            return
        self._http.post("runs/outputs", {"run_id": run_id, "models": list(models)}, _about(run_id))

    def record_model(self, run_id: str, model_json: str) -> None:
        self._http.post("runs/log-model", {"run_id": run_id, "model_json": model_json}, _about(run_id))

    def get_metric_history(
        self, run_id: str, key: str, max_results: int | None = None, page_token: str | None = None
    ) -> Page[Metric]:
        if max_results is not None:
            check_max_results(max_results, MAX_POINTS_PAGE)
            return self._history_page(run_id, key, max_results, page_token)
        found = [
            point
            for page in pages(lambda token: self._history_page(run_id, key, _POINTS, token), page_token)
            for point in page
        ]
        return Page(tuple(sorted(found, key=lambda point: (point.timestamp, point.step))))

    def _history_page(self, run_id: str, key: str, max_results: int, page_token: str | None) -> Page[Metric]:
        fields = {"run_id": run_id, "metric_key": key, "max_results": max_results, "page_token": page_token}
        try:
            answer = self._http.get("metrics/get-history", fields, _about(run_id))
        except ResourceNotFound:
            return Page(())
        return wire.history_from_answer(answer)

    def get_metric_history_bulk(self, run_ids: Sequence[str], key: str, max_results: int = 25_000) -> list[Metric]:
        fields = {"run_id": list(run_ids), "metric_key": key, "max_results": max_results}
        try:
            answer = self._http.get("metrics/get-history-bulk", fields, ajax=True)
        except NotSupported:
            self._log_substitute(
                "histories of several runs are read one by one; the server does not return them together."
            )
            return self._histories(run_ids, key, max_results)
        return list(wire.history_from_answer(answer))

    def _histories(self, run_ids: Sequence[str], key: str, max_results: int) -> list[Metric]:
        found: list[Metric] = []
        for run_id in sorted(set(run_ids)):
            found += [replace(point, run_id=run_id) for point in self.get_metric_history(run_id, key)]
            if len(found) >= max_results:
                break
        return found[:max_results]

    def get_metric_history_interval(
        self,
        run_ids: Sequence[str],
        key: str,
        start_step: int | None = None,
        end_step: int | None = None,
        max_results: int = 2500,
    ) -> list[Metric]:
        fields = {
            "run_ids": list(run_ids),
            "metric_key": key,
            "start_step": start_step,
            "end_step": end_step,
            "max_results": max_results,
        }
        answer = self._http.get("metrics/get-history-bulk-interval", fields)
        return list(wire.history_from_answer(answer))

    def get_metric_columns(
        self,
        run_ids: Sequence[str],
        key: str,
        x: str = "step",
        start: int | None = None,
        end: int | None = None,
        columns: int = 1000,
    ) -> list[Curve]:
        fields = {"run_ids": list(run_ids), "metric_key": key, "x": x, "start": start, "end": end, "columns": columns}
        return wire.from_answer(wire.read_curves, self._http.get("metrics/get-columns", fields))


def all_runs(http: Transport, experiment_id: str) -> Iterator[Run]:
    """Yield the active runs of an experiment, page by page."""

    def search(token: str | None) -> Page[Run]:
        fields = {"experiment_ids": [experiment_id], "max_results": _PAGE, "page_token": token}
        answer = http.post("runs/search", fields, About("experiment", experiment_id))
        return wire.page_from_answer(wire.read_run, answer, "runs")

    for page in pages(search):
        yield from map(restored, page)


def _about(run_id: str) -> About:
    return About("run", run_id)


def _checked(run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: Sequence[Tag]) -> _Batch:
    """Check what does not need the server. The errors are more specific than the server's."""
    check_run_id(run_id)
    check_metrics(metrics)
    cut_params, cut_tags = check_params(params), check_run_tags(tags)
    check_total(len(metrics), len(params), len(tags))
    return metrics, cut_params, cut_tags
