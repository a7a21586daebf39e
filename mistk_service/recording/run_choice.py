"""The choice of the run: a new one or a resumed one, in the requested experiment if possible."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from mistk_service.recording.orphaned_runs import CONTAINER_TAG
from mistk_service.recording.retry import StoreRetry
from mistk_service.recording.run_lease import RunLease
from mistk_service.recording.run_options import RunOptions
from mistk_service.recording.spelling import text_of
from mistk_service.tracking.errors import InvalidParameter, ResourceExists, ResourceNotFound
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.values import Experiment, LifecycleStage, Run, RunStatus, Tag
from mistk_service.tracking.values.limits import MAX_EXPERIMENT_NAME

_PARENT = "mlflow.parentRunId"

#: The errors of a store for a request that cannot be fulfilled.
_REFUSALS = (InvalidParameter, ResourceNotFound)


class RunFinder:
    """Finds or creates runs. If an option cannot be fulfilled, the run is created elsewhere, and a note says so."""

    def __init__(
        self, store: Store, default: str, retry: StoreRetry, note: Callable[[str], None], lease: RunLease | None = None
    ) -> None:
        self._store = store
        self._default = default
        self._call = retry.call
        self._note = note
        self._lease = lease

    def find(
        self, run_options: RunOptions, user: str, start_time: int, tags: Mapping[str, Any], run_id: str | None = None
    ) -> Run:
        """Return the run to write to. Start (milliseconds since 1970), tags and id are those of a new one."""
        resumed = self._resumed(run_options.run_id) if run_options.run_id else None
        return resumed or self._create(run_options, user, start_time, tags, run_id)

    def _resumed(self, run_id: str) -> Run | None:
        run = self._run(run_id)
        if run is None:
            self._note(f"There is no run {run_id!r} to resume, so a new one was started.")
        elif run.info.lifecycle_stage is not LifecycleStage.ACTIVE:
            self._note(f"The run {run_id} is deleted, so a new one was started.")
            run = None
        elif run.info.status is RunStatus.RUNNING and self._is_written(run):
            self._note(f"Another container is writing to the run {run_id}, so a new one was started.")
            run = None
        return run

    def _is_written(self, run: Run) -> bool:
        """Return whether a run is that of another container, which is alive."""
        lease = self._lease
        writer = next((tag.value for tag in run.data.tags if tag.key == CONTAINER_TAG), None)
        return lease is not None and writer is not None and self._call(lambda: lease.is_held_by_another(writer))

    def _create(
        self, run_options: RunOptions, user: str, start_time: int, tags: Mapping[str, Any], run_id: str | None
    ) -> Run:
        parent = self._run(run_options.parent_run_id) if run_options.parent_run_id else None
        if run_options.parent_run_id and parent is None:
            self._note(f"There is no run {run_options.parent_run_id!r} that could be the parent, so the run has none.")
        all_tags = [Tag(key, text_of(value)) for key, value in tags.items() if key not in (_PARENT, "mlflow.runName")]
        if parent is not None:
            all_tags.append(Tag(_PARENT, parent.info.run_id))
        name = text_of(run_options.run_name or "")
        last: Exception | None = None
        for experiment_id in self._experiments(run_options, parent):
            create = partial(self._store.create_run, experiment_id, user, name, start_time, all_tags, run_id=run_id)
            try:
                return self._call(create)
            except ResourceExists:  # an earlier attempt created it, and the response was lost
                if run_id is None or (found := self._run(run_id)) is None:
                    raise
                return found
            except _REFUSALS as error:  # the experiment was deleted just now
                last = error
        raise last or AssertionError("there is always an experiment to try")

    def _run(self, run_id: str) -> Run | None:
        try:
            return self._call(lambda: self._store.get_run(run_id))
        except _REFUSALS:
            return None

    # --- experiments ----------------------------------------------------------------------------------------------

    def _experiments(self, run_options: RunOptions, parent: Run | None) -> Iterator[str]:
        """Yield the ids of experiments for the run, the best first."""
        wanted, reason = self._wanted(run_options)
        if wanted is not None:
            if reason is not None:
                self._note(f"{reason} The run went to the experiment {wanted.name!r} instead.")
            yield wanted.experiment_id
        if parent is not None and reason is None:
            yield parent.info.experiment_id
        for name in (self._default, f"{self._default} (2)", "Default"):
            found = self._named(name)
            if isinstance(found, Experiment):
                if reason is not None:
                    self._note(f"{reason} The run went to the experiment {found.name!r} instead.")
                yield found.experiment_id

    def _wanted(self, run_options: RunOptions) -> tuple[Experiment | None, str | None]:
        """Return the requested experiment, by its id or else by its name, and why an option cannot be fulfilled."""
        reasons: list[str] = []
        for value, find in ((run_options.experiment_id, self._with_id), (run_options.experiment_name, self._named)):
            found = find(value) if value else None
            if isinstance(found, Experiment):
                return found, " ".join(reasons) or None
            if found is not None:
                reasons.append(found)
        return None, " ".join(reasons) or None

    def _with_id(self, experiment_id: str) -> Experiment | str:
        try:
            return _active(self._call(lambda: self._store.get_experiment(experiment_id)))
        except _REFUSALS:
            return f"There is no experiment with the id {experiment_id!r}."

    def _named(self, name: str) -> Experiment | str:
        """Return the experiment with a name, created if it does not exist, or why it cannot be used."""
        try:
            try:
                return _active(self._call(lambda: self._store.get_experiment_by_name(name)))
            except ResourceNotFound:
                return self._made(name)
        except InvalidParameter as error:
            shown = name if len(name) <= MAX_EXPERIMENT_NAME else f"{name[:50]}..."
            return f"The experiment {shown!r} cannot be used: {error}"

    def _made(self, name: str) -> Experiment | str:
        try:
            number = self._call(lambda: self._store.create_experiment(name))
        except ResourceExists:  # another client created it first
            return _active(self._call(lambda: self._store.get_experiment_by_name(name)))
        return self._call(lambda: self._store.get_experiment(number))


def _active(experiment: Experiment) -> Experiment | str:
    if experiment.lifecycle_stage is LifecycleStage.ACTIVE:
        return experiment
    return f"The experiment {experiment.name!r} is deleted."
