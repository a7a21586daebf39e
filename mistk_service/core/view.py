"""The facts about an instance, computed from its events: state, activity, possible operations, and status.

The view makes no decisions. Two views that received the same events are equal, so a recorded history can be replayed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import msgspec

from mistk_service.core.events import (
    ActivityBegan,
    ActivityEnded,
    ArtifactLogged,
    CallAccepted,
    Event,
    InstanceFailed,
    InstanceReset,
    MetricsReported,
    ModelLoaded,
    NoticeShown,
    ParamsReported,
    PredictionAnswered,
    PredictionBegan,
    PredictionWithdrawn,
    ProgressReported,
    ReplicasChanged,
    StateChanged,
    StatusUpdated,
    TagsSet,
    ValueShown,
)
from mistk_service.kinds.kind import PAUSED, Kind, Operation, Role

#: The maximum number of artifacts in the status; the newest are kept.
_ARTIFACTS_SHOWN = 100

#: The maximum number each of metrics, params and tags in the status, since every event of every watch repeats them. The run
#: has them all.
_KEYS_SHOWN = 1000

#: The roles of operations that are accepted while predictions are in flight.
_ALLOWED_DURING_PREDICTIONS = frozenset({Role.PREDICTION, Role.RESET, Role.SHUTDOWN})

_V = TypeVar("_V")


class MetricSummary(msgspec.Struct, frozen=True):
    """The last point of a metric, and the range of its finite values since its step last decreased.

    Attributes:
        value: the last value.
        step: its step.
        timestamp: its time, in milliseconds since 1970.
        low: the lowest value; infinity if no value was finite.
        high: the highest value; negative infinity if no value was finite.
    """

    value: float
    step: int | None
    timestamp: int
    low: float = math.inf
    high: float = -math.inf

    def with_point(self, value: float, step: int | None, timestamp: int) -> MetricSummary:
        """Return the summary with another point."""
        low, high = self.low, self.high
        if step is not None and self.step is not None and step < self.step:
            low, high = math.inf, -math.inf  # another training begins, whose values are only compared with each other
        if math.isfinite(value):
            low, high = min(low, value), max(high, value)
        return MetricSummary(value, step, timestamp, low, high)


@dataclass(frozen=True)
class Status:
    """The contents of a status, without the version that it is published under. They are never changed afterwards.

    Attributes:
        state: the state.
        possible: the operations that would be accepted.
        activity: the activity that is running or paused.
        progress: its progress.
        metrics: the metrics, by key.
        params: the params reported.
        tags: the tags set.
        artifacts: the newest artifacts.
        hidden: the numbers of metrics, params and tags that are not shown, by these words, without zeros.
        last: the last activity that ended, and when it began.
        notice: a message about something that did not happen as requested and is not a failure.
        failure: why the instance has failed.
        reported: the payload that the model passed to ``update_status``.
        shown: values that parts of the service show, by key.
    """

    state: str
    possible: tuple[str, ...] = ()
    activity: ActivityBegan | None = None
    progress: ProgressReported | None = None
    metrics: Mapping[str, MetricSummary] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, Any] = field(default_factory=dict)
    artifacts: tuple[ArtifactLogged, ...] = ()
    hidden: Mapping[str, int] = field(default_factory=dict)
    last: tuple[ActivityEnded, str] | None = None
    notice: str | None = None
    failure: InstanceFailed | None = None
    reported: Any = None
    shown: Mapping[str, Any] = field(default_factory=dict)


class InstanceView:
    """The current facts about one instance, updated event by event.

    Args:
        kind: the kind of container.
        name: the model's name until its class is loaded.
    """

    def __init__(self, kind: Kind, name: str) -> None:
        self.kind = kind
        self.name = name
        #: The hooks of the class; None until they are known.
        self.hooks: frozenset[str] | None = None
        #: The state of the machine, which does not depend on predictions in flight.
        self.base_state = kind.initial
        #: The activity that is running or paused.
        self.activity: ActivityBegan | None = None
        #: The activity that is running while another is paused.
        self.nested: ActivityBegan | None = None
        #: The number of predictions in flight.
        self.in_flight = 0
        #: How many replicas can predict, whatever the worker itself does.
        self.replicas = ReplicasChanged(0, 0)
        self._serves_while_training = False
        self._shown: dict[str, Any] = {}
        self._clear()

    def _clear(self) -> None:
        """Discard everything about the instance, as after a reset. Values that parts of the service show are kept."""
        self._notice: str | None = None
        self._reported: Any = None
        self._progress: ProgressReported | None = None
        self._progress_of_paused: ProgressReported | None = None
        self._metrics: dict[str, MetricSummary] = {}
        self._params: dict[str, Any] = {}
        self._tags: dict[str, Any] = {}
        self._artifacts: list[ArtifactLogged] = []
        self._last: tuple[ActivityEnded, str] | None = None
        self._failure: InstanceFailed | None = None

    def apply(self, event: Event) -> None:  # noqa: PLR0912 - a case for each event
        """Apply the next event."""
        match event:
            case PredictionBegan():
                self.in_flight += 1
            case PredictionAnswered() | PredictionWithdrawn():
                self.in_flight -= 1
            case MetricsReported():
                for key, value, step, timestamp in event.points:
                    self._metrics[key] = (self._metrics.get(key) or _NO_POINTS).with_point(value, step, timestamp)
            case ProgressReported():
                self._progress = event
            case StatusUpdated():
                self._reported = event.payload
            case ParamsReported():
                self._params.update(event.values)
            case TagsSet():
                self._tags.update(event.values)
            case ArtifactLogged():
                self._artifacts.append(event)
                del self._artifacts[:-_ARTIFACTS_SHOWN]
            case ValueShown():
                self._show(event)
            case CallAccepted():
                self._notice = None
            case StateChanged():
                self.base_state = event.state
            case ActivityBegan():
                self._begin(event)
            case ActivityEnded():
                self._end(event)
            case ModelLoaded():
                self.name, self.hooks = event.name, event.hooks
                self._serves_while_training = event.signature.serve_while_training
            case ReplicasChanged():
                self.replicas = event
            case InstanceFailed():
                self._failure = event
            case NoticeShown():
                self._notice = event.notice
            case InstanceReset():
                notice = self._notice
                self._clear()
                self._notice, self.hooks = notice, None

    def _begin(self, event: ActivityBegan) -> None:
        if self.base_state == PAUSED:
            self.nested, self._progress_of_paused = event, self._progress
        else:
            self.activity = event
        self._progress = self._notice = None

    def _end(self, event: ActivityEnded) -> None:
        began = self.nested if self.nested is not None and self.nested.id == event.id else self.activity
        if began is self.nested:
            self.nested = None
        else:
            self.activity = None
        self._progress, self._progress_of_paused = self._progress_of_paused, None
        self._last = event, began.started_at if began else ""

    def _show(self, event: ValueShown) -> None:
        if event.value is None:
            self._shown.pop(event.key, None)
        else:
            self._shown[event.key] = event.value

    # --- facts ----------------------------------------------------------------------------------------------------

    @property
    def running(self) -> ActivityBegan | None:
        """The running activity, or the paused one if no other is running."""
        return self.nested or self.activity

    @property
    def state(self) -> str:
        """The state. A ready instance with predictions in flight is predicting."""
        prediction = self.kind.prediction
        if self.in_flight and prediction is not None and self.base_state == prediction.then:
            return prediction.running or self.base_state
        return self.base_state

    @property
    def progress(self) -> ProgressReported | None:
        """The progress of the running activity."""
        return self._progress if self.running is not None else None

    def supports(self, row: Operation) -> bool:
        """Return whether the class has the hook of an operation, or may have it while its hooks are not known."""
        return self.hooks is None or row.hook in self.hooks

    def is_possible(self, row: Operation) -> bool:
        """Return whether an operation would be accepted."""
        return self.supports(row) and self._is_allowed(row)

    @property
    def accepts_predictions(self) -> bool:
        """Whether predictions would be accepted, of a class that has a hook for them."""
        return self.kind.prediction is not None and self._is_allowed(self.kind.prediction)

    def _is_allowed(self, row: Operation) -> bool:
        if (
            row.role is Role.PREDICTION
            and self.activity is not None
            and self._replicas_serve_during(self.activity.operation)
        ):
            return True
        if self.base_state not in row.allowed:
            return False
        prediction = self.kind.prediction
        if self.in_flight and prediction is not None and self.base_state == prediction.then:
            return row.role in _ALLOWED_DURING_PREDICTIONS or (
                row.role is Role.ACTIVITY and self._replicas_serve_during(row.name)
            )
        if row.role is Role.PAUSE:
            return any(self._is_running(resume.resumes) for resume in self.kind.of_role(Role.RESUME))
        named = row.resumes or row.cancels
        return named is None or self._is_running(named)

    def _replicas_serve_during(self, activity: str) -> bool:
        """Return whether replicas answer predictions during an activity."""
        changes = self.kind.operations[activity].replicas == "changes"
        return self.replicas.usable > 0 and (self._serves_while_training or not changes)

    def _is_running(self, operation: str | None) -> bool:
        return self.activity is not None and self.activity.operation == operation

    def possible(self) -> tuple[str, ...]:
        """Return the operations that would be accepted, in the order of the kind."""
        return tuple(row.name for row in self.kind.operations.values() if self.is_possible(row))

    def status(self) -> Status:
        """Return the contents of the status."""
        values: dict[str, Mapping[str, Any]] = {"metrics": self._metrics, "params": self._params, "tags": self._tags}
        replicas = {"usable": self.replicas.usable, "of": self.replicas.count}
        return Status(
            state=self.state,
            possible=self.possible(),
            activity=self.running,
            progress=self.progress,
            metrics=_first(self._metrics),
            params=_first(self._params),
            tags=_first(self._tags),
            artifacts=tuple(self._artifacts),
            hidden={key: len(each) - _KEYS_SHOWN for key, each in values.items() if len(each) > _KEYS_SHOWN},
            last=self._last,
            notice=self._notice,
            failure=self._failure,
            reported=self._reported,
            shown=self._shown | ({"replicas": replicas} if self.replicas.count else {}),
        )


def _first(values: Mapping[str, _V]) -> dict[str, _V]:
    """Return the values that are shown, by name: the names that were reported first, so that the selection is stable."""
    return dict(islice(values.items(), _KEYS_SHOWN))


_NO_POINTS = MetricSummary(math.nan, None, 0)
