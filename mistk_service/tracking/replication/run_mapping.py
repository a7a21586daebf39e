"""The mapping from local runs to the runs of a remote, which are found or created."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from mistk_service.tracking.errors import ResourceExists, ResourceNotFound, StoreError
from mistk_service.tracking.remotes import Remote
from mistk_service.tracking.replication.remote import SOURCE_RUN, is_refusal
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.store.outbox import Ledger
from mistk_service.tracking.values import Experiment, LifecycleStage, Run, Tag, ViewType

logger = logging.getLogger(__name__)

#: The remote run id of a run that is not copied because it came from the remote.
EXCLUDED = ""

_NAME = "mlflow.runName"
_PARENT = "mlflow.parentRunId"


class RunRefused(Exception):
    """A remote accepts nothing of a run; the message says why."""


class RemoteRuns:
    """Finds the remote's runs and experiments for local ones, and creates those that are missing.

    ``copy`` copies a whole run; it is called with the id of a parent before its child is copied.
    """

    def __init__(self, store: Store, remote: Remote, ledger: Ledger, copy: Callable[[str], object]) -> None:
        self._store = store
        self._remote = remote
        self._ledger = ledger
        self._copy = copy
        self._experiments: dict[str, str] = {}
        # The runs for which others are being copied; a run may name itself as an ancestor.
        self._in_progress: list[str] = []

    def find_or_create(self, run: Run, *, new: bool) -> tuple[str, bool]:
        """Return the id of the remote's run for a local one, and whether it was created just now and is empty.

        Args:
            run: the local run.
            new: whether it is certain that the run was never copied.

        Raises:
            RunRefused: the remote does not accept it.
            StoreError: it may have been created or not.
        """
        run_id = run.info.run_id
        known = self._ledger.find(run_id)
        if known is not None and known.remote_run_id is not None:
            return known.remote_run_id, False
        if self._came_from_remote(run):
            self._ledger.map(run_id, EXCLUDED)
            return EXCLUDED, False
        experiment_id = self.experiment(run.info.experiment_id)
        if known is not None or not new:
            found = self._look_up(experiment_id, run_id)
            if found is not None:
                self._ledger.map(run_id, found)
                return found, False
        tags = self.tags_of(run)
        # Recorded first, so that after a crash the run is looked up instead of created again.
        self._ledger.begin(run_id)
        created = self._create(experiment_id, run, tags)
        self._ledger.map(run_id, created)
        return created, True

    def tags_of(self, run: Run) -> list[Tag]:
        """Return all tags of a run's copy: its own, and the one that names its source."""
        return [*self.translated(run.info.run_id, run.data.tags), Tag(SOURCE_RUN, run.info.run_id)]

    def translated(self, run_id: str, tags: Iterable[Tag]) -> list[Tag]:
        """Return tags of a run as its copy has them, with the remote's id of the parent."""
        own = [tag for tag in tags if tag.key != SOURCE_RUN]
        return [Tag(_PARENT, self.counterpart(run_id, tag.value)) if tag.key == _PARENT else tag for tag in own]

    def counterpart(self, run_id: str, other_id: str) -> str:
        """Return the remote's id of a run that another one refers to, such as its parent, or the local id if there is none.

        It is copied before the run that refers to it.

        Args:
            run_id: the referring run.
            other_id: the run that it refers to.
        """
        if other_id in (run_id, *self._in_progress):
            return other_id
        self._in_progress.append(run_id)
        try:
            return self._copied(other_id)
        finally:
            self._in_progress.pop()

    def _copied(self, run_id: str) -> str:
        known = self._ledger.find(run_id)
        if known is None or known.remote_run_id is None:
            try:
                self._copy(run_id)
            except RunRefused:
                return run_id
            except StoreError as error:
                if not is_refusal(error):
                    raise
                return run_id
            known = self._ledger.find(run_id)
        if known is None or known.remote_run_id is None:
            return run_id
        return known.remote_run_id or _source(self._store.get_run(run_id)) or run_id

    def _came_from_remote(self, run: Run) -> bool:
        """Return whether a run is a copy of a run of this store, or of the remote.

        Two services that replicate to each other, or one that replicates to itself, would otherwise never finish.
        """
        source = _source(run)
        if source is None:
            return False
        for store in (self._store, self._remote):
            try:
                store.get_run(source)
            except StoreError as error:
                if not is_refusal(error):
                    raise
            else:
                return True
        return False

    def _look_up(self, experiment_id: str, run_id: str) -> str | None:
        found = self._remote.search_runs(
            [experiment_id], filter=f"tags.`{SOURCE_RUN}` = '{run_id}'", view_type=ViewType.ALL, max_results=10
        )
        return next(iter(sorted((run.info.start_time, run.info.run_id) for run in found)), (0, None))[1]

    def _create(self, experiment_id: str, run: Run, tags: list[Tag]) -> str:
        info = run.info
        unnamed = [tag for tag in tags if tag.key != _NAME]
        # If a tag is not acceptable, the run is created without tags; they are then sent, and refused, one by one.
        for attempt in (unnamed, [Tag(SOURCE_RUN, info.run_id)]):
            try:
                return self._remote.create_run(
                    experiment_id, info.user_id, info.run_name, info.start_time, attempt
                ).info.run_id
            except StoreError as error:
                if not is_refusal(error):
                    raise
                # The experiment may have been deleted since the lookup.
                self._experiments.pop(info.experiment_id, None)
                refusal = error
        raise RunRefused(f"The run could not be created: {refusal}") from refusal

    def experiment(self, experiment_id: str) -> str:
        """Return the remote's id of a local experiment, which is created if it is missing.

        Raises:
            RunRefused: the remote does not accept it.
        """
        found = self._experiments.get(experiment_id)
        if found is None:
            local = self._store.get_experiment(experiment_id)
            try:
                found = self._find_experiment(local)
            except StoreError as error:
                if not is_refusal(error):
                    raise
                raise RunRefused(f"The experiment {local.name!r} could not be created: {error}") from error
            self._experiments[experiment_id] = found
        return found

    def _find_experiment(self, local: Experiment) -> str:
        try:
            there = self._remote.get_experiment_by_name(local.name)
        except ResourceNotFound:
            try:
                return self._remote.create_experiment(local.name, tags=local.tags)
            except ResourceExists:
                # Another client created it in the meantime.
                there = self._remote.get_experiment_by_name(local.name)
        if there.lifecycle_stage is not LifecycleStage.ACTIVE:
            raise RunRefused(
                f"The experiment {local.name!r} is deleted there. Restore it, and copy its runs with "
                "'mistk-service tracking sync'."
            )
        return there.experiment_id


def _source(run: Run) -> str | None:
    return next((tag.value for tag in run.data.tags if tag.key == SOURCE_RUN), None)
