"""What happens to an instance, as values. The status, the run and the metrics are computed from these events alone.

With all events from the first one, the status (:class:`mistk_service.core.view.InstanceView`) and the run can be rebuilt.
The events of predictions, of which there are thousands per second, are structs, since frozen dataclasses are slow to make.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mistk_service.errors import Failure
from mistk_service.kinds.predictions import Signature
from mistk_service.workers.protocol import FileStamp


@dataclass(frozen=True)
class WorkerStarted:
    """A worker was started.

    Attributes:
        restarts: the number of workers started before it.
        pid: its process id; that of the service if the worker is a thread.
    """

    restarts: int
    pid: int


@dataclass(frozen=True)
class ReplicasChanged:
    """The number of replicas that can predict has changed.

    Attributes:
        usable: how many can predict now, whatever the worker itself does.
        count: how many there are to be.
    """

    usable: int
    count: int


@dataclass(frozen=True)
class ModelLoaded:
    """The worker has loaded the class.

    Attributes:
        name: the name of the class.
        hooks: the hooks that the class has.
        signature: what the class declares.
    """

    name: str
    hooks: frozenset[str]
    signature: Signature = field(default_factory=Signature)


@dataclass(frozen=True)
class CallAccepted:
    """A pause, a resume, a reset or a shutdown was accepted. Other accepted calls begin an activity or a prediction."""

    operation: str


@dataclass(frozen=True)
class StateChanged:
    """The instance moved to another state. Predictions in flight emit :class:`PredictionBegan` instead."""

    state: str


@dataclass(frozen=True)
class ActivityBegan:
    """An activity was accepted and began.

    Attributes:
        operation: the operation.
        arguments: the hook's arguments, by position.
        id: the number of the activity.
        started_at: when it began, ISO 8601.
        before: for an operation that saves, the previous contents of its folder; None if there were too many files.
        caller: the name of the account that called the operation, if clients have to log in.
    """

    operation: str
    arguments: tuple[Any, ...] = ()
    id: int = 0
    started_at: str = ""
    before: Mapping[str, FileStamp] | None = field(default_factory=dict)
    caller: str | None = None


@dataclass(frozen=True)
class ActivityEnded:
    """An activity ended.

    Attributes:
        operation: the operation.
        outcome: ``completed``, ``failed``, ``stopped``, ``refused`` or ``unsupported``.
        seconds: the duration.
        failure: what went wrong, if it failed.
        id: the number of the activity.
        ended_at: when it ended, ISO 8601.
    """

    operation: str
    outcome: str
    seconds: float
    failure: Failure | None = None
    id: int = 0
    ended_at: str = ""


@dataclass(frozen=True)
class InstanceFailed:
    """The instance failed, during an operation or outside of one. The status shows this failure until a reset."""

    operation: str | None
    failure: Failure


@dataclass(frozen=True)
class NoticeShown:
    """Something did not happen as requested and is not a failure. The status shows this sentence."""

    notice: str


class PredictionBegan(msgspec.Struct, frozen=True):
    """A prediction was accepted and is in flight."""


class PredictionAnswered(msgspec.Struct, frozen=True):
    """A prediction for ``records`` records was answered after ``seconds``, successfully or with an error."""

    records: int
    seconds: float
    succeeded: bool


class PredictionWithdrawn(msgspec.Struct, frozen=True):
    """A prediction ended without an answer from the model: the client disconnected, it timed out, or the worker ended."""


@dataclass(frozen=True)
class ProgressReported:
    """The progress of the running activity.

    Attributes:
        done: the number of steps done.
        total: the total number of steps, if known.
        unit: the unit, such as ``epochs``.
        rate: steps per second, if known.
        time_left: the estimated seconds left, if known.
    """

    done: int
    total: int | None
    unit: str
    rate: float | None = None
    time_left: float | None = None


@dataclass(frozen=True)
class StatusUpdated:
    """The payload that the model passed to ``update_status``."""

    payload: Any


@dataclass(frozen=True)
class ValueShown:
    """A part of the service shows a value under its own key of the status. None removes it."""

    key: str
    value: Any


@dataclass(frozen=True)
class MetricsReported:
    """Metric points ``(key, value, step, timestamp in milliseconds)``, in the order in which the model reported them."""

    points: tuple[tuple[str, float, int | None, int], ...]


@dataclass(frozen=True)
class ParamsReported:
    """The model reported parameters."""

    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TagsSet:
    """The model set tags."""

    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ArtifactLogged:
    """The model logged a file or a folder.

    Attributes:
        path: its absolute path, or the name of a text or a figure, which has no path. The last part is the artifact's name.
        artifact_path: the folder of the run to store it in; None for the top folder.
        kept: a copy made at the time of the call, which the observer that stores it owns. None if there is no copy, because
            the worker was started without a spool.
    """

    path: str
    artifact_path: str | None
    kept: str | None


@dataclass(frozen=True)
class InstanceReset:
    """The instance was reset. Earlier reports do not belong to what follows."""


Event = (
    WorkerStarted
    | ReplicasChanged
    | ModelLoaded
    | CallAccepted
    | StateChanged
    | ActivityBegan
    | ActivityEnded
    | InstanceFailed
    | NoticeShown
    | PredictionBegan
    | PredictionAnswered
    | PredictionWithdrawn
    | ProgressReported
    | StatusUpdated
    | ValueShown
    | MetricsReported
    | ParamsReported
    | TagsSet
    | ArtifactLogged
    | InstanceReset
)

Observer = Callable[[Event], None]
