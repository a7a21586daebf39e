"""Experiments."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from mistk_service.tracking import wire
from mistk_service.tracking.errors import InvalidParameter
from mistk_service.tracking.server.operations._base import Json, OperationsBase, brief, readable, readable_experiments
from mistk_service.tracking.server.pieces import in_pieces
from mistk_service.tracking.values import Tag, ViewType
from mistk_service.tracking.values.limits import MAX_PAGE
from mistk_service.tracking.wire import Fields

#: More experiments than there can be.
_ALL = sys.maxsize


class ExperimentOperations(OperationsBase):
    """The operations under ``experiments/``."""

    def create_experiment(self, fields: Fields) -> Json:
        name, location = fields.required_text("name"), fields.text("artifact_location") or None
        if location is not None:
            self._locations.allowed.require_known(location)
        experiment_id = self._store.create_experiment(name, location, wire.read_tags(fields))
        return {"experiment_id": experiment_id}

    @brief
    def get_experiment(self, fields: Fields) -> Json:
        return {"experiment": wire.experiment(self._store.get_experiment(fields.required_text("experiment_id")))}

    @brief
    def get_experiment_by_name(self, fields: Fields) -> Json:
        experiment = self._store.get_experiment_by_name(fields.required_text("experiment_name"))
        return {"experiment": wire.experiment(experiment)}

    def search_experiments(self, fields: Fields) -> Iterator[bytes]:
        yield from self._found(
            fields,
            fields.required_int64("max_results"),
            MAX_PAGE,
            filter=fields.text("filter") or "",
            order_by=fields.texts("order_by"),
        )

    search_experiments_by_query = search_experiments

    def list_experiments(self, fields: Fields) -> Iterator[bytes]:
        """List experiments, by default all at once."""
        max_results = fields.int64("max_results")
        wanted, largest = (_ALL, _ALL) if max_results is None else (max_results, MAX_PAGE)
        yield from self._found(fields, wanted, largest, order_by=("experiment_id ASC",))

    def _found(self, fields: Fields, wanted: int, largest: int, **search: Any) -> Iterator[bytes]:
        view_type = fields.enum("view_type", ViewType) or ViewType.ACTIVE_ONLY
        return in_pieces(
            "experiments",
            lambda count, token: readable(
                fields,
                self._store.search_experiments(view_type, count, page_token=token, **search),
                lambda experiment: experiment.experiment_id,
            ),
            lambda found: [wire.experiment(experiment) for experiment in found],
            wanted,
            largest,
            fields.text("page_token") or None,
        )

    def update_experiment(self, fields: Fields) -> Json:
        self._store.rename_experiment(fields.required_text("experiment_id"), fields.required_text("new_name"))
        return {}

    def delete_experiment(self, fields: Fields) -> Json:
        self._store.delete_experiment(fields.required_text("experiment_id"))
        return {}

    def restore_experiment(self, fields: Fields) -> Json:
        self._store.restore_experiment(fields.required_text("experiment_id"))
        return {}

    def set_experiment_tag(self, fields: Fields) -> Json:
        tag = Tag(fields.required_text("key"), fields.text("value") or "")
        self._store.set_experiment_tag(fields.required_text("experiment_id"), tag)
        return {}

    def delete_experiment_tag(self, fields: Fields) -> Json:
        self._store.delete_experiment_tag(fields.required_text("experiment_id"), fields.required_text("key"))
        return {}

    def search_datasets(self, fields: Fields) -> Json:
        """Find the datasets that the runs of some experiments use."""
        if not fields.texts("experiment_ids"):
            raise InvalidParameter(
                "SearchDatasets request must specify at least one experiment_id.", field="experiment_ids"
            )
        found = self._store.search_datasets(readable_experiments(fields))
        return {"dataset_summaries": found} if found else {}
