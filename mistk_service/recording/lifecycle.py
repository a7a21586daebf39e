"""Writes a run from the events of the instance.

A model's ``initialize`` provides params and tags, ``loadData`` provides inputs. The run is opened by the first training,
prediction or generation, the first save, or the first report of the model. Params and tags that are reported during the
preparation of the model wait for it. The run is RUNNING while an activity runs, and FINISHED, FAILED or KILLED afterwards. A
later activity resumes it, and a reset ends it. Reports before ``initialize`` wait for it, since its properties choose the
run. An operation that configures the run and is work too, such as ``evaluate``, gets its own run each time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import msgspec

from mistk_service.core.events import (
    ActivityBegan,
    ActivityEnded,
    ArtifactLogged,
    Event,
    InstanceReset,
    MetricsReported,
    ModelLoaded,
    ParamsReported,
    PredictionAnswered,
    TagsSet,
)
from mistk_service.core.hyperparameters import checked
from mistk_service.errors import Failure, InvalidRequest
from mistk_service.kinds.kind import Kind, RunSettings
from mistk_service.kinds.predictions import Signature
from mistk_service.recording.activities import Activities
from mistk_service.recording.artifact_uploads import Saved
from mistk_service.recording.datasets import dataset_inputs
from mistk_service.recording.mlmodel import mlmodel
from mistk_service.recording.open_run import OpenRun, RunGone
from mistk_service.recording.orphaned_runs import FAILURE_TAG
from mistk_service.recording.retry import RetryTimeout
from mistk_service.recording.run_manager import MADE_FROM_TAG, RunManager
from mistk_service.recording.run_options import RunOptions
from mistk_service.recording.run_preview import NextRun
from mistk_service.recording.system_metrics import SystemSample
from mistk_service.tracking.values import DatasetInput, RunStatus

logger = logging.getLogger(__name__)

#: The tag with the name of the account whose call opened the run.
STARTED_BY_TAG = "mistk.startedBy"

#: Points that may wait for ``initialize``; a model that reports more than that gets its run at once.
_EARLY = 10_000

#: Characters of the tag with the reason of a failure, and lines of the traceback in it.
_FAILURE_SIZE, _FAILURE_LINES = 4000, 10


class StreamTotals(msgspec.Struct, frozen=True):
    """Totals of the stream predictions of an instance.

    Attributes:
        count: the number of responses.
        records: the number of records in them.
        failed: the number of error responses.
        seconds: the total duration.
    """

    count: int = 0
    records: int = 0
    failed: int = 0
    seconds: float = 0.0

    def plus(self, event: PredictionAnswered) -> StreamTotals:
        """Return the totals with one more response."""
        return StreamTotals(
            self.count + 1,
            self.records + event.records,
            self.failed + (not event.succeeded),
            self.seconds + event.seconds,
        )


@dataclass
class _Memory:
    """The initial data of the run: collected until it is opened, and kept in case it is deleted and replaced."""

    params: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, Any] = field(default_factory=dict)
    inputs: list[DatasetInput] = field(default_factory=list)
    run_options: RunOptions = field(default_factory=RunOptions)
    initialized: bool = False
    #: The model properties and the hyperparameters of ``initialize``.
    settings: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {})
    #: Whether params or tags of the model wait for a run.
    reported: bool = False


class Lifecycle:
    """Handles events, in order, and writes the run. Used by one thread.

    Args:
        run_options: the defaults of ``initialize``.
        show: called with the run after every change, and with the number of the instance's life.
    """

    def __init__(
        self, kind: Kind, manager: RunManager, run_options: RunOptions, show: Callable[[OpenRun, int], None]
    ) -> None:
        self._operations = kind.operations
        self._manager = manager
        self._default = run_options
        self._show = show
        #: Whether there is an operation that configures the run, for which reports then have to wait.
        self._is_configured = any(row.configures_run is not None for row in kind.operations.values())
        self._memory = _Memory(run_options=run_options, initialized=not self._is_configured)
        self._run: OpenRun | None = None
        #: The next run, and the life that the present one belongs to.
        self._next = NextRun(0)
        self._life = 0
        self._activities = Activities(kind.operations)
        #: The reports of the model before ``initialize``.
        self._early: list[tuple[Event, int]] = []
        self._counts: dict[str, int] = {}
        self._streams: tuple[StreamTotals, int] = (StreamTotals(), 0)
        self._samples = 0
        self._signature = Signature()

    @property
    def run(self) -> OpenRun | None:
        """The run, if there is one."""
        return self._run

    def take(self, event: Event | NextRun | StreamTotals | SystemSample, now: int) -> None:
        """Take an event that happened at ``now``, in milliseconds since 1970.

        Raises:
            RetryTimeout: the store was unavailable for too long.
        """
        handler = _HANDLERS.get(type(event))
        if handler is None:
            return
        try:
            handler(self, event, now)
        except RunGone as error:
            # The write goes to a new run, which starts with everything in memory.
            self._replace(error, now)
            handler(self, event, now)

    def close(self, now: int) -> None:
        """End the running activities as killed, and write what still waits."""
        self._end_run(now)

    # --- activities -----------------------------------------------------------------------------------------------

    def _began(self, event: ActivityBegan, now: int) -> None:
        row = self._operations[event.operation]
        if row.configures_run is not None:
            self._configure(row.configures_run(event.arguments), now)
        if not self._activities.running:
            self._memory.tags.pop(FAILURE_TAG, None)
        if self._run is None and event.caller is not None:
            self._memory.tags[STARTED_BY_TAG] = event.caller
        self._activities.begin(event)
        if self._memory.initialized:
            self._take_early()
        if row.opens_run:
            self._opened(now)
        self._settle(now)

    def _configure(self, settings: RunSettings, now: int) -> None:
        if self._run is not None:
            self._end_run(now)
        tags = self._manager.instance_tags(settings.tags, RunOptions.other_properties(settings.properties))
        properties = dict(settings.properties)
        if settings.made_from is not None and (source := self._manager.run_that_saved(*settings.made_from)) is not None:
            tags[MADE_FROM_TAG] = source
            properties.setdefault("mlflow.parentRunId", source)
        self._memory = _Memory(
            params=dict(settings.params),
            tags=tags,
            run_options=self._default.overridden(properties),
            initialized=True,
            settings=(settings.properties, settings.params),
        )

    def _take_early(self) -> None:
        """Take the reports from before ``initialize``."""
        early, self._early = self._early, []
        for event, happened in early:
            self.take(event, happened)

    def _loaded(self, event: ModelLoaded, _: int) -> None:
        self._signature = event.signature
        if any(self._operations[name].takes_hyperparameters for name in self._activities.running):
            # They were accepted before the class could complete them by its defaults.
            properties, given = self._memory.settings
            with suppress(InvalidRequest):
                self._memory.settings = properties, checked(event.signature.hyperparameters, given)
            self._memory.params |= self._memory.settings[1]

    def _plan(self, following: NextRun, _: int) -> None:
        self._next = following

    def _ended(self, event: ActivityEnded, now: int) -> None:
        if event.operation not in self._activities.running:
            return
        row = self._operations[event.operation]
        self._attempt(self._keep_results, event, now)
        if row.is_work and event.outcome not in ("refused", "unsupported"):
            self._attempt(self._count, event, now)
        if event.failure is not None and not self._activities.is_save_during_pause(event):
            # A model may report for the first time after its failure, and gets its run only then.
            self._memory.tags[FAILURE_TAG] = _described(event.failure)
            self._attempt(self._tag_failure, event, now)
        # Last, so that all of this is repeated for a new run if this one turns out to be deleted.
        self._activities.end(event)
        self._settle(now)

    def _attempt(self, write: Callable[[Any, int], None], event: ActivityEnded, now: int) -> None:
        """Write something. The run ends even after an unexpected error."""
        try:
            write(event, now)
        except (RunGone, RetryTimeout):
            raise
        except Exception as error:  # for example from the model's files, which may be of any kind
            logger.exception("A part of %s could not be tracked.", event.operation)
            self._manager.note(f"A part of {event.operation} could not be tracked: {error}")

    def _keep_results(self, event: ActivityEnded, now: int) -> None:
        if event.outcome != "completed":
            return
        began, row = self._activities.running[event.operation], self._operations[event.operation]
        if row.inputs is not None:
            self._use(dataset_inputs(row.inputs(began.arguments), self._manager.note))
        path = None if row.saves is None else row.saved_to(began.arguments)
        # Files at a remote location, to which the model has written itself, are not here.
        if row.saves is not None and path is not None and "://" not in path:
            flavor = partial(mlmodel, self._manager.reference, self._signature, *self._memory.settings)
            saved = Saved(path, began.before)
            self._manager.keep_saved(self._opened(now), saved, row.saves, self._memory.run_options, flavor)

    def _tag_failure(self, _: ActivityEnded, __: int) -> None:
        if self._run is not None:
            self._run.log_values(tags={FAILURE_TAG: self._memory.tags[FAILURE_TAG]})

    def _use(self, inputs: list[DatasetInput]) -> None:
        self._memory.inputs = [*self._memory.inputs, *(new for new in inputs if new not in self._memory.inputs)]
        if self._run is not None:
            self._run.log_inputs(inputs)

    def _count(self, event: ActivityEnded, now: int) -> None:
        run = self._opened(now)
        key = f"mistk/{event.operation}_count"
        count = self._counts.get(event.operation, int(run.latest(key))) + 1
        points = [(key, float(count), count, now), (f"mistk/{event.operation}_seconds", event.seconds, count, now)]
        run.log_points(points)
        self._counts[event.operation] = count

    def _reset(self, _: InstanceReset, now: int) -> None:
        self._end_run(now)
        self._memory = _Memory(run_options=self._default, initialized=not self._is_configured)

    def _end_run(self, now: int) -> None:
        """End the run, if there is one, and start again; reports without a run get one first."""
        if self._early:
            self._memory.initialized = True
            self._take_early()
        if self._run is None and self._memory.reported:
            self._opened(now)
        self._activities.kill()
        with suppress(RunGone):  # nothing is left to write, so it need not be replaced
            self._settle(now)
        self._run = None
        self._activities = Activities(self._operations)
        self._counts.clear()
        self._streams = StreamTotals(), 0
        self._samples = 0

    # --- reports --------------------------------------------------------------------------------------------------

    def _points(self, event: MetricsReported, now: int) -> None:
        if not self._waits(event, now):
            self._opened(now).log_points(event.points)

    def _params(self, event: ParamsReported, now: int) -> None:
        if not self._waits(event, now):
            # The first value of a param stays.
            self._memory.params = {**event.values, **self._memory.params}
            if not self._is_kept():
                self._opened(now).log_values(params=event.values)

    def _tags(self, event: TagsSet, now: int) -> None:
        if not self._waits(event, now):
            self._memory.tags |= event.values
            if not self._is_kept():
                self._opened(now).log_values(tags=event.values)

    def _is_kept(self) -> bool:
        """Return whether a report waits for the run, which is not opened during the preparation of the model."""
        running = self._activities.running
        if self._run is not None or not running or any(self._operations[name].opens_run for name in running):
            return False
        self._memory.reported = True
        return True

    def _artifact(self, event: ArtifactLogged, now: int) -> None:
        if not self._waits(event, now):
            self._manager.keep_artifact(self._opened(now), event)

    def _waits(self, event: Event, now: int) -> bool:
        """Return whether a report waits for ``initialize``, and keep it if so."""
        if self._memory.initialized:
            return False
        self._early.append((event, now))
        if sum(len(early.points) for early, _ in self._early if isinstance(early, MetricsReported)) > _EARLY:
            self._memory.initialized = True
            self._take_early()
        return True

    def _stream_totals(self, totals: StreamTotals, now: int) -> None:
        """Write the totals, if they have changed and there is a run."""
        known, step = self._streams
        if self._run is None or totals == known:
            return
        values = {"count": totals.count, "records": totals.records, "failed": totals.failed, "seconds": totals.seconds}
        self._run.log_points([(f"mistk/stream_predict_{key}", float(v), step + 1, now) for key, v in values.items()])
        self._streams = totals, step + 1

    def _sample(self, sample: SystemSample, now: int) -> None:
        """Write the samples, if there is a run and an activity."""
        if self._run is None or not self._activities.running:
            return
        self._run.log_points([(key, value, self._samples, now) for key, value in sample.values.items()])
        self._samples += 1

    # --- the run --------------------------------------------------------------------------------------------------

    def _opened(self, now: int) -> OpenRun:
        """Return the run, opened if there is none yet."""
        if self._run is None:
            memory = self._memory
            run = self._manager.open_run(memory.run_options, memory.tags, now, self._next.run_id)
            self._run, self._life = run, self._next.life
            self._next, memory.reported = replace(self._next, run_id=None), False
            if self._activities.running:
                run.remove_tag(FAILURE_TAG)
            run.log_values(params=memory.params)
            run.log_inputs(memory.inputs)
            # Only one run is resumed; the next one is new.
            memory.run_options = replace(memory.run_options, run_id=None)
            self._default = replace(self._default, run_id=None)
            self._settle(now)
        return self._run

    def _settle(self, now: int) -> None:
        """Set the status of the run according to the activities."""
        run = self._run
        if run is None:
            return
        if self._activities.running:
            if run.info.status is not RunStatus.RUNNING:
                run.remove_tag(FAILURE_TAG)
                run.set_status(RunStatus.RUNNING)
        elif run.info.status is RunStatus.RUNNING:
            run.set_status(self._activities.status, now)
        self._show(run, self._life)

    def _replace(self, error: RunGone, now: int) -> None:
        run, self._run = self._run, None
        if run is not None:
            self._manager.note(f"The run {run.id} {error}; recording continues in a new one.")
            self._memory.tags["mistk.replacesRunId"] = run.id
        self._opened(now)


def _described(failure: Failure) -> str:
    """Return a failure as the text of a tag: the error and the end of the traceback."""
    lines = (failure.traceback or "").strip().splitlines() or list(failure.output)
    text = "\n".join([f"{failure.type}: {failure.message}", *lines[-_FAILURE_LINES:]])
    return text[:_FAILURE_SIZE]


_HANDLERS: dict[type, Callable[[Lifecycle, Any, int], None]] = {
    ModelLoaded: Lifecycle._loaded,
    ActivityBegan: Lifecycle._began,
    ActivityEnded: Lifecycle._ended,
    InstanceReset: Lifecycle._reset,
    NextRun: Lifecycle._plan,
    MetricsReported: Lifecycle._points,
    ParamsReported: Lifecycle._params,
    TagsSet: Lifecycle._tags,
    ArtifactLogged: Lifecycle._artifact,
    StreamTotals: Lifecycle._stream_totals,
    SystemSample: Lifecycle._sample,
}
