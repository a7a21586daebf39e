"""What is logged to runs on a remote, and read back point by point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future

from msgspec.structs import replace

from mistk_service.tracking import wire
from mistk_service.tracking.errors import InvalidParameter, NotSupported, ResourceNotFound
from mistk_service.tracking.rest.runs import RestRuns, about_run
from mistk_service.tracking.rest.substitutes import input_tags, output_tags
from mistk_service.tracking.values import DatasetInput, Metric, ModelInput, ModelOutput, Param, Tag
from mistk_service.tracking.values.limits import (
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

__all__ = ["RestBatches"]

#: Points of a history that are asked for at once.
_POINTS = 25_000

_Batch = tuple[Sequence[Metric], Sequence[Param], Sequence[Tag]]


class RestBatches(RestRuns):
    """The part of the REST store that is about metrics, params, tags, inputs and outputs of runs."""

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
            self._http.post("runs/log-batch", fields, about_run(run_id))
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
        self._degrade(f"values of params are cut to {longest} characters, the limit of the server.")
        return [Param(param.key, param.value[:longest]) for param in params]

    def _set_tags(self, run_id: str, tags: Sequence[Tag]) -> None:
        """Set tags one by one, where a tag that is there already can neither be repeated nor changed."""
        self._degrade(
            "tags are set one by one, and keep their first value; the server can neither batch nor change them."
        )
        run = wire.from_answer(wire.read_run, self._http.get("runs/get", {"run_id": run_id}, about_run(run_id)), "run")
        present = {tag.key for tag in run.data.tags}
        for tag in self._cut(last_of_each_key(tags)):
            if not tag.value:
                self._degrade("tags without a value are left out; the server refuses them.")
                continue
            if tag.key in present:
                continue
            fields = {"run_id": run_id, "key": tag.key, "value": tag.value}
            self._http.post("runs/set-tag", fields, about_run(run_id))

    def delete_tag(self, run_id: str, key: str) -> None:
        """Remove a tag; where the server cannot do that, the tag stays, which is logged."""
        if not self.capabilities.delete_tag:
            self._degrade("deleted tags stay; the server cannot remove them.")
            return
        self._http.post("runs/delete-tag", {"run_id": run_id, "key": key}, about_run(run_id))

    def log_inputs(self, run_id: str, datasets: Sequence[DatasetInput] = (), models: Sequence[ModelInput] = ()) -> None:
        """Record what a run uses; a server without inputs gets tags, which are read back as inputs."""
        check_dataset_inputs(datasets)
        if not self.capabilities.log_inputs:
            self._degrade("datasets and models that a run uses are written as tags; the server has no inputs.")
            self._set_tags(run_id, input_tags(datasets, models, self.capabilities.longest_tag))
            return
        fields = {
            "run_id": run_id,
            "datasets": list(datasets),
            "models": list(models),
        }
        self._http.post("runs/log-inputs", fields, about_run(run_id))

    def log_outputs(self, run_id: str, models: Sequence[ModelOutput]) -> None:
        """Record what a run made; a server without outputs gets tags, which are read back as outputs."""
        if not self.capabilities.log_outputs:
            self._degrade("models that a run made are written as tags; the server has no outputs.")
            self._set_tags(run_id, output_tags(models))
            return
        fields = {
            "run_id": run_id,
            "models": list(models),
        }
        self._http.post("runs/outputs", fields, about_run(run_id))

    def record_model(self, run_id: str, model_json: str) -> None:
        self._http.post("runs/log-model", {"run_id": run_id, "model_json": model_json}, about_run(run_id))

    def get_metric_history(
        self, run_id: str, key: str, max_results: int | None = None, page_token: str | None = None
    ) -> Page[Metric]:
        if max_results is not None:
            check_max_results(max_results, 2**31 - 1)
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
            answer = self._http.get("metrics/get-history", fields, about_run(run_id))
        except ResourceNotFound:
            return Page(())
        return wire.page_from_answer(wire.read_measured, answer, "metrics")

    def get_metric_history_bulk(self, run_ids: Sequence[str], key: str, max_results: int = 25_000) -> list[Metric]:
        fields = {"run_id": list(run_ids), "metric_key": key, "max_results": max_results}
        try:
            answer = self._http.get("metrics/get-history-bulk", fields, ajax=True)
        except NotSupported:
            self._degrade("histories of several runs are read one by one; the server has no request for several.")
            return self._histories(run_ids, key, max_results)
        return list(wire.page_from_answer(wire.read_measured, answer, "metrics"))

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
        return list(wire.page_from_answer(wire.read_measured, answer, "metrics"))


def _checked(run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: Sequence[Tag]) -> _Batch:
    """Check what can be said without the server, which names the place of what is wrong better than the server's answer."""
    check_run_id(run_id)
    check_metrics(metrics)
    cut_params, cut_tags = check_params(params), check_run_tags(tags)
    check_total(len(metrics), len(params), len(tags))
    return metrics, cut_params, cut_tags
