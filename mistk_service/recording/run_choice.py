"""Which run an instance writes to: a new one, or one to go on with, in the experiment that was asked for if it can be had."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from mistk_service.recording.options import Steering
from mistk_service.recording.retry import Patience
from mistk_service.recording.spelling import text_of
from mistk_service.tracking.errors import InvalidParameter, ResourceExists, ResourceNotFound
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.values import Experiment, LifecycleStage, Run, Tag
from mistk_service.tracking.values.limits import MAX_EXPERIMENT_NAME

__all__ = ["RunFinder"]

_PARENT = "mlflow.parentRunId"

#: What a store says where a wish cannot be fulfilled.
_REFUSALS = (InvalidParameter, ResourceNotFound)


class RunFinder:
    """Finds or makes runs. A wish that cannot be fulfilled is told, and the run goes where it can.

    Args:
        store: where runs are.
        default: the experiment unless another one is asked for.
        patience: makes the calls.
        note: is told, in a sentence, what was wrong with a wish and what was done instead.
    """

    def __init__(self, store: Store, default: str, patience: Patience, note: Callable[[str], None]) -> None:
        self._store = store
        self._default = default
        self._call = patience.insist
        self._note = note

    def find(
        self, steering: Steering, user: str, start_time: int, tags: Mapping[str, Any], run_id: str | None = None
    ) -> Run:
        """Return the run to write to.

        Args:
            steering: the wishes.
            user: who runs it.
            start_time: milliseconds since 1970, of a new run.
            tags: of a new run.
            run_id: of a new run; None to have it made up.
        """
        resumed = self._resumed(steering.run_id) if steering.run_id else None
        return resumed or self._create(steering, user, start_time, tags, run_id)

    def _resumed(self, run_id: str) -> Run | None:
        run = self._run(run_id)
        if run is None:
            self._note(f"There is no run {run_id!r} to go on with, so a new one was begun.")
        elif run.info.lifecycle_stage is not LifecycleStage.ACTIVE:
            self._note(f"The run {run_id} is deleted, so a new one was begun.")
            run = None
        return run

    def _create(
        self, steering: Steering, user: str, start_time: int, tags: Mapping[str, Any], run_id: str | None
    ) -> Run:
        parent = self._run(steering.parent_run_id) if steering.parent_run_id else None
        if steering.parent_run_id and parent is None:
            self._note(f"There is no run {steering.parent_run_id!r} that could be the parent, so the run has none.")
        all_tags = [Tag(key, text_of(value)) for key, value in tags.items() if key not in (_PARENT, "mlflow.runName")]
        if parent is not None:
            all_tags.append(Tag(_PARENT, parent.info.run_id))
        name = text_of(steering.run_name or "")
        last: Exception | None = None
        for experiment_id in self._experiments(steering, parent):
            create = partial(self._store.create_run, experiment_id, user, name, start_time, all_tags, run_id=run_id)
            try:
                return self._call(create)
            except ResourceExists:  # it was made by an attempt whose answer was lost
                if run_id is None or (found := self._run(run_id)) is None:
                    raise
                return found
            except _REFUSALS as error:  # it was deleted just now
                last = error
        raise last or AssertionError("there is always an experiment to try")

    def _run(self, run_id: str) -> Run | None:
        try:
            return self._call(lambda: self._store.get_run(run_id))
        except _REFUSALS:
            return None

    # --- experiments ----------------------------------------------------------------------------------------------

    def _experiments(self, steering: Steering, parent: Run | None) -> Iterator[str]:
        """Yield the ids of experiments that may hold the run, the best first."""
        wish, reason = self._wanted(steering)
        if wish is not None:
            if reason is not None:
                self._note(f"{reason} The run went to the experiment {wish.name!r} instead.")
            yield wish.experiment_id
        if parent is not None and reason is None:
            yield parent.info.experiment_id
        for name in (self._default, f"{self._default} (2)", "Default"):
            found = self._named(name)
            if isinstance(found, Experiment):
                if reason is not None:
                    self._note(f"{reason} The run went to the experiment {found.name!r} instead.")
                yield found.experiment_id

    def _wanted(self, steering: Steering) -> tuple[Experiment | None, str | None]:
        """Return the experiment that is asked for, by its id or else by its name, and why a wish cannot be fulfilled."""
        reasons: list[str] = []
        for wish, find in ((steering.experiment_id, self._with_id), (steering.experiment_name, self._named)):
            found = find(wish) if wish else None
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
        """Return the experiment of that name, made where it is not there, or why it cannot be had."""
        try:
            try:
                return _active(self._call(lambda: self._store.get_experiment_by_name(name)))
            except ResourceNotFound:
                return self._made(name)
        except InvalidParameter as error:
            shown = name if len(name) <= MAX_EXPERIMENT_NAME else f"{name[:50]}..."
            return f"There can be no experiment {shown!r}: {error}"

    def _made(self, name: str) -> Experiment | str:
        try:
            number = self._call(lambda: self._store.create_experiment(name))
        except ResourceExists:  # somebody else was faster
            return _active(self._call(lambda: self._store.get_experiment_by_name(name)))
        return self._call(lambda: self._store.get_experiment(number))


def _active(experiment: Experiment) -> Experiment | str:
    if experiment.lifecycle_stage is LifecycleStage.ACTIVE:
        return experiment
    return f"The experiment {experiment.name!r} is deleted."
