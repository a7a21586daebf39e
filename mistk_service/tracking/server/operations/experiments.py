"""Experiments."""

from __future__ import annotations

from mistk_service.tracking import wire
from mistk_service.tracking.entities import Experiment, Tag, ViewType
from mistk_service.tracking.paging import Page
from mistk_service.tracking.server.operations._base import Json, OperationsBase, brief, page
from mistk_service.tracking.wire import Fields

__all__ = ["ExperimentOperations"]

#: The most experiments that the store gives at once.
_LARGEST_PAGE = 50_000


class ExperimentOperations(OperationsBase):
    """The operations under ``experiments/``."""

    def create_experiment(self, fields: Fields) -> Json:
        """Create an experiment."""
        name, location = fields.required_text("name"), fields.text("artifact_location") or None
        if location is not None:
            self._locations.allowed.require_known(location)
        experiment_id = self._store.create_experiment(name, location, wire.read_tags(fields))
        return {"experiment_id": experiment_id}

    @brief
    def get_experiment(self, fields: Fields) -> Json:
        """Get an experiment by its id."""
        return {"experiment": wire.experiment(self._store.get_experiment(fields.required_text("experiment_id")))}

    @brief
    def get_experiment_by_name(self, fields: Fields) -> Json:
        """Get an experiment by its name."""
        experiment = self._store.get_experiment_by_name(fields.required_text("experiment_name"))
        return {"experiment": wire.experiment(experiment)}

    def search_experiments(self, fields: Fields) -> Json:
        """Search experiments."""
        found = self._store.search_experiments(
            view_type=_view_type(fields),
            max_results=fields.required_int64("max_results"),
            filter=fields.text("filter") or "",
            order_by=fields.texts("order_by"),
            page_token=fields.text("page_token") or None,
        )
        return page("experiments", found, wire.experiment)

    search_experiments_by_query = search_experiments

    def list_experiments(self, fields: Fields) -> Json:
        """List experiments, all at once unless a number is given."""
        max_results = fields.int64("max_results")
        token = fields.text("page_token") or None
        found = self._store.search_experiments(
            view_type=_view_type(fields),
            max_results=_LARGEST_PAGE if max_results is None else max_results,
            order_by=("experiment_id ASC",),
            page_token=token,
        )
        if max_results is None:
            found = self._with_the_rest(found, _view_type(fields))
        return page("experiments", found, wire.experiment)

    def _with_the_rest(self, found: Page[Experiment], view_type: ViewType) -> Page[Experiment]:
        """Return the page together with all that follow it."""
        items = list(found)
        while found.next_page_token:
            found = self._store.search_experiments(
                view_type, _LARGEST_PAGE, order_by=("experiment_id ASC",), page_token=found.next_page_token
            )
            items.extend(found)
        return Page(tuple(items))

    def update_experiment(self, fields: Fields) -> Json:
        """Rename an experiment."""
        self._store.rename_experiment(fields.required_text("experiment_id"), fields.required_text("new_name"))
        return {}

    def delete_experiment(self, fields: Fields) -> Json:
        """Mark an experiment deleted."""
        self._store.delete_experiment(fields.required_text("experiment_id"))
        return {}

    def restore_experiment(self, fields: Fields) -> Json:
        """Make a deleted experiment active."""
        self._store.restore_experiment(fields.required_text("experiment_id"))
        return {}

    def set_experiment_tag(self, fields: Fields) -> Json:
        """Set a tag."""
        tag = Tag(fields.required_text("key"), fields.text("value") or "")
        self._store.set_experiment_tag(fields.required_text("experiment_id"), tag)
        return {}

    def delete_experiment_tag(self, fields: Fields) -> Json:
        """Delete a tag."""
        self._store.delete_experiment_tag(fields.required_text("experiment_id"), fields.required_text("key"))
        return {}

    def search_datasets(self, fields: Fields) -> Json:
        """Find the datasets that the runs of some experiments use."""
        experiment_ids = fields.texts("experiment_ids")
        if not experiment_ids:
            raise fields.missing("experiment_ids")
        found = self._store.search_datasets(experiment_ids)
        return {"dataset_summaries": [wire.dataset_summary(summary) for summary in found]} if found else {}


def _view_type(fields: Fields) -> ViewType:
    return fields.enum("view_type", ViewType) or ViewType.ACTIVE_ONLY
