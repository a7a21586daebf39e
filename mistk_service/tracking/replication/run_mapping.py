"""Which run of a remote is which local one: found, or made."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from mistk_service.tracking.errors import ResourceExists, ResourceNotFound, StoreError
from mistk_service.tracking.replication.remote import SOURCE_RUN, Remote, is_refusal
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.store.outbox import Ledger
from mistk_service.tracking.values import Experiment, LifecycleStage, Run, Tag, ViewType

__all__ = ["EXCLUDED", "RemoteRuns", "RunRefused"]

logger = logging.getLogger(__name__)

#: Stands for the remote's run where there is none on purpose: the run came from there.
EXCLUDED = ""

_NAME = "mlflow.runName"
_PARENT = "mlflow.parentRunId"


class RunRefused(Exception):
    """A remote takes nothing of a run; the message says why."""


class RemoteRuns:
    """Finds the remote's runs and experiments for local ones, and makes those that are missing.

    Args:
        store: the local store.
        remote: the remote.
        ledger: remembers which run is which.
        bring: brings a whole run over; called with the id of a run whose child is on its way.
    """

    def __init__(self, store: Store, remote: Remote, ledger: Ledger, bring: Callable[[str], object]) -> None:
        self._store = store
        self._remote = remote
        self._ledger = ledger
        self._bring = bring
        self._experiments: dict[str, str] = {}
        # The runs for which others are being brought over, for parents that are their own ancestors.
        self._on_the_way: list[str] = []

    def find_or_make(self, run: Run, *, new: bool) -> tuple[str, bool]:
        """Return the id of the remote's run for a local one, and whether it was made just now and has nothing yet.

        Args:
            run: the local run.
            new: whether it is certain that it was never brought over, by whatever means.

        Raises:
            RunRefused: the remote does not take it.
            StoreError: it is not known whether it was made.
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
        # Noted before, so that after a crash it is looked up instead of made again.
        self._ledger.begin(run_id)
        made = self._make(experiment_id, run, tags)
        self._ledger.map(run_id, made)
        return made, True

    def tags_of(self, run: Run) -> list[Tag]:
        """Return all tags that a run's copy has: its own, and the one that says where it comes from."""
        return [*self.translated(run.info.run_id, run.data.tags), Tag(SOURCE_RUN, run.info.run_id)]

    def translated(self, run_id: str, tags: Iterable[Tag]) -> list[Tag]:
        """Return tags of a run as its copy has them, with the remote's id of its parent."""
        own = [tag for tag in tags if tag.key != SOURCE_RUN]
        return [Tag(_PARENT, self.counterpart(run_id, tag.value)) if tag.key == _PARENT else tag for tag in own]

    def counterpart(self, run_id: str, other_id: str) -> str:
        """Return the remote's id of a run that another one speaks of, such as its parent; as it is where that cannot be.

        It is brought over before the one that speaks of it.

        Args:
            run_id: the run that speaks.
            other_id: the run that it speaks of.
        """
        if other_id in (run_id, *self._on_the_way):
            return other_id
        self._on_the_way.append(run_id)
        try:
            return self._brought(other_id)
        finally:
            self._on_the_way.pop()

    def _brought(self, run_id: str) -> str:
        known = self._ledger.find(run_id)
        if known is None or known.remote_run_id is None:
            try:
                self._bring(run_id)
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
        """Return whether a run is itself a copy: of a run of this store, or of one that the remote has.

        Two services that forward to each other, or one that forwards to itself, would otherwise never come to an end.
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

    def _make(self, experiment_id: str, run: Run, tags: list[Tag]) -> str:
        info = run.info
        unnamed = [tag for tag in tags if tag.key != _NAME]
        # Where a tag is not acceptable, the run is made without them; they are sent, and refused, one by one.
        for attempt in (unnamed, [Tag(SOURCE_RUN, info.run_id)]):
            try:
                return self._remote.create_run(
                    experiment_id, info.user_id, info.run_name, info.start_time, attempt
                ).info.run_id
            except StoreError as error:
                if not is_refusal(error):
                    raise
                # The experiment may be gone since it was looked for.
                self._experiments.pop(info.experiment_id, None)
                refusal = error
        raise RunRefused(f"The run could not be created: {refusal}") from refusal

    def experiment(self, experiment_id: str) -> str:
        """Return the remote's id of a local experiment, which is made where it is missing.

        Raises:
            RunRefused: the remote does not take it.
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
                # Somebody else was faster.
                there = self._remote.get_experiment_by_name(local.name)
        if there.lifecycle_stage is not LifecycleStage.ACTIVE:
            raise RunRefused(
                f"The experiment {local.name!r} is deleted there. Restore it, and bring its runs over with "
                "'mistk-service tracking sync'."
            )
        return there.experiment_id


def _source(run: Run) -> str | None:
    return next((tag.value for tag in run.data.tags if tag.key == SOURCE_RUN), None)
