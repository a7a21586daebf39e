"""Permanent removal of deleted items, with their files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from mistk_service.tracking.artifacts import ArtifactRepository
from mistk_service.tracking.artifacts.locations import Locations
from mistk_service.tracking.errors import InvalidParameter, ResourceNotFound
from mistk_service.tracking.mlops.storing import project_of
from mistk_service.tracking.sql import SqlStore
from mistk_service.tracking.sql.runs.trash import EXPERIMENT, TrashItem
from mistk_service.tracking.values import LifecycleStage


class Garbage:
    """The items of a store that were deleted long enough ago.

    Args:
        store: the store.
        artifacts: where its files are; None if there are none.
        before: ms since 1970; items that were deleted later are kept.
        experiment_ids: the experiments to search; None means all.
    """

    def __init__(
        self,
        store: SqlStore,
        artifacts: ArtifactRepository | None,
        before: int,
        experiment_ids: Sequence[str] | None = None,
    ) -> None:
        self._store = store
        self._locations = None if artifacts is None else Locations(store, artifacts)
        found = [self._checked(item) for item in store.trash.items(before, experiment_ids)]
        #: The items that can be removed, in a valid order, and those that cannot be removed yet.
        self.items = [item for item in found if not item.needed]
        self.kept = [item for item in found if item.needed]

    def remove(self, report: Callable[[str], None]) -> int:
        """Remove everything that can be removed, and return the number of items.

        Args:
            report: called with a line about each item.

        Raises:
            StoreUnavailable: the store or the artifacts cannot be written now. What was removed stays removed; the next
                call removes the rest.
        """
        removed = 0
        for item in self.items:
            # The files first: after an interruption, the next call finds the item and finishes the removal.
            if (
                self._store.trash.still_deleted(item)
                and self._remove_files(item, report)
                and self._store.trash.remove(item)
            ):
                report(f"Removed the {item}.")
                removed += 1
            else:
                report(f"Kept the {item}: it is in use again.")
        return removed

    def _checked(self, item: TrashItem) -> TrashItem:
        """Return an item, kept if it belongs to a project, since the numbers of its other experiments depend on it."""
        if item.kind != EXPERIMENT or item.needed:
            return item
        project = project_of(self._store.get_experiment(item.id))
        with suppress(ResourceNotFound, InvalidParameter):
            if self._store.get_experiment(project).lifecycle_stage is LifecycleStage.ACTIVE:
                return replace(item, needed="the experiments of its project are numbered with it")
        return item

    def _remove_files(self, item: TrashItem, report: Callable[[str], None]) -> bool:
        if self._locations is None or item.kind == EXPERIMENT:
            return True
        try:
            place = self._locations.place(item.artifact_uri, "")
        except (InvalidParameter, ResourceNotFound):
            report(f"The files of the {item} are at {item.artifact_uri}, outside of the artifact root; they stay.")
            return True
        folder, _, last = place.rpartition("/")
        # The folder that has its id as its name contains nothing else.
        self._locations.artifacts.delete(
            folder if last == "artifacts" and folder.rpartition("/")[2] == item.id else place
        )
        return True
