"""Experiments on a remote."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain

from mistk_service.tracking import wire
from mistk_service.tracking.errors import InvalidParameter, NotSupported, ResourceExists
from mistk_service.tracking.filters import EXPERIMENTS
from mistk_service.tracking.rest import searching
from mistk_service.tracking.rest.responses import About, Json
from mistk_service.tracking.rest.runs import all_runs
from mistk_service.tracking.rest.searching import CONTEXT
from mistk_service.tracking.rest.session import Session
from mistk_service.tracking.store._runs import ExperimentStore
from mistk_service.tracking.values import DatasetSummary, Experiment, Tag, ViewType
from mistk_service.tracking.values.limits import (
    MAX_DATASET_EXPERIMENTS,
    MAX_EXPERIMENT_TAG_VALUE,
    MAX_PAGE,
    check_experiment_name,
    check_max_results,
    check_tag,
    check_tags,
)
from mistk_service.tracking.values.page import Page, pages

#: A database's error for a duplicate name, which MLflow's own server passes on unchanged.
_TAKEN = re.compile(r"UNIQUE constraint|duplicate key|Duplicate entry", re.IGNORECASE)
#: Experiments per request when all of them are needed.
_PAGE = 1000


class RestExperiments(Session, ExperimentStore):
    """The REST store's methods for experiments."""

    def create_experiment(self, name: str, artifact_location: str | None = None, tags: Sequence[Tag] = ()) -> str:
        check_experiment_name(name)
        given = check_tags(tags, MAX_EXPERIMENT_TAG_VALUE)
        fields = {"name": name, "artifact_location": artifact_location or None, "tags": given}
        answer = self._http.post("experiments/create", fields, About("experiment", name))
        return wire.from_answer(lambda fields: fields.required_identifier("experiment_id"), answer)

    def get_experiment(self, experiment_id: str) -> Experiment:
        answer = self._http.get("experiments/get", {"experiment_id": experiment_id}, _about(experiment_id))
        return wire.from_answer(wire.read_experiment, answer, "experiment")

    def get_experiment_by_name(self, name: str) -> Experiment:
        answer = self._http.get("experiments/get-by-name", {"experiment_name": name}, About("experiment", name))
        return wire.from_answer(wire.read_experiment, answer, "experiment")

    def search_experiments(
        self,
        view_type: ViewType = ViewType.ACTIVE_ONLY,
        max_results: int = 1000,
        filter: str = "",
        order_by: Sequence[str] = (),
        page_token: str | None = None,
    ) -> Page[Experiment]:
        check_max_results(max_results, MAX_PAGE)
        if not self.capabilities.search_filters:
            self._log_substitute(
                "searches for experiments are filtered and ordered on the client; the server ignores that."
            )
            return searching.search_experiments(
                self._all_experiments(), filter, view_type, max_results, order_by, page_token
            )
        fields = {
            "view_type": view_type.name,
            "max_results": max_results,
            "filter": filter or None,
            "order_by": list(order_by) or None,
            "page_token": page_token,
        }
        return self._search("experiments/search", fields, EXPERIMENTS, wire.read_experiment, "experiments")

    def _all_experiments(self) -> Iterator[Experiment]:
        def search(token: str | None) -> Page[Experiment]:
            try:
                answer = self._http.post("experiments/search", {"max_results": _PAGE, "page_token": token})
            except NotSupported:
                answer = self._http.get("experiments/list", {})
            return wire.page_from_answer(wire.read_experiment, answer, "experiments")

        return chain.from_iterable(pages(search))

    def rename_experiment(self, experiment_id: str, new_name: str) -> None:
        check_experiment_name(new_name, "new_name")
        try:
            self._change("update", experiment_id, new_name=new_name)
        except InvalidParameter as error:
            if not _TAKEN.search(str(error)):
                raise
            raise ResourceExists(f"Experiment(name={new_name}) already exists.") from error

    def delete_experiment(self, experiment_id: str) -> None:
        self._change("delete", experiment_id)

    def restore_experiment(self, experiment_id: str) -> None:
        self._change("restore", experiment_id)

    def set_experiment_tag(self, experiment_id: str, tag: Tag) -> None:
        check_tag(tag, MAX_EXPERIMENT_TAG_VALUE)
        try:
            self._change("set-experiment-tag", experiment_id, key=tag.key, value=tag.value)
        except InvalidParameter:
            if self.capabilities.overwrites_tags:
                raise
            if all(each.key != tag.key for each in self.get_experiment(experiment_id).tags):
                raise
            self._log_substitute("tags of experiments keep their first value; the server cannot change them.")

    def delete_experiment_tag(self, experiment_id: str, key: str) -> None:
        self._change("delete-experiment-tag", experiment_id, key=key)

    def _change(self, operation: str, experiment_id: str, **fields: str) -> Json:
        return self._http.post(
            f"experiments/{operation}", {"experiment_id": experiment_id, **fields}, _about(experiment_id)
        )

    def search_datasets(self, experiment_ids: Sequence[str]) -> list[DatasetSummary]:
        if not experiment_ids:
            return []
        if len(experiment_ids) > MAX_DATASET_EXPERIMENTS:
            raise InvalidParameter(
                f"Datasets of {len(experiment_ids)} experiments were requested; the limit is {MAX_DATASET_EXPERIMENTS}.",
                field="experiment_ids",
            )
        fields = {"experiment_ids": list(experiment_ids)}
        try:
            answer = self._http.post("experiments/search-datasets", fields, ajax=True)
        except NotSupported:
            self._log_substitute(
                "searches for datasets read all runs of the experiments; the server has no such search."
            )
            return self._datasets_of_runs(experiment_ids)
        return list(wire.page_from_answer(wire.read_dataset_summary, answer, "dataset_summaries"))

    def _datasets_of_runs(self, experiment_ids: Sequence[str]) -> list[DatasetSummary]:
        found: dict[DatasetSummary, None] = {}
        for experiment_id in dict.fromkeys(experiment_ids):
            for run in all_runs(self._http, experiment_id):
                for use in run.inputs.dataset_inputs:
                    context = next((tag.value for tag in use.tags if tag.key == CONTEXT), None)
                    found[DatasetSummary(experiment_id, use.dataset.name, use.dataset.digest, context)] = None
        return list(found)


def _about(experiment_id: str) -> About:
    return About("experiment", experiment_id)
