"""What happens to an instance, as values: status, run and figures all follow from them, and from nothing else.

Whoever has every event from the first on can rebuild the status (:class:`mistk_service.core.view.InstanceView`) and the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mistk_service.errors import Failure
from mistk_service.workers.protocol import FileStamp

__all__ = [
    "ActivityBegan",
    "ActivityEnded",
    "ArtifactLogged",
    "CallAccepted",
    "Event",
    "InstanceFailed",
    "InstanceReset",
    "MetricsReported",
    "ModelLoaded",
    "Noticed",
    "Observer",
    "ParamsReported",
    "PredictionAnswered",
    "PredictionBegan",
    "PredictionWithdrawn",
    "ProgressReported",
    "StateChanged",
    "StatusUpdated",
    "TagsSet",
    "ValueShown",
    "WorkerStarted",
]


@dataclass(frozen=True)
class WorkerStarted:
    """A worker was started.

    Attributes:
        restarts: how many were started before it.
        pid: its process; the service's own where the worker is a thread.
    """

    restarts: int
    pid: int


@dataclass(frozen=True)
class ModelLoaded:
    """The worker has the class.

    Attributes:
        name: its name.
        hooks: the hooks that it has.
    """

    name: str
    hooks: frozenset[str]


@dataclass(frozen=True)
class CallAccepted:
    """A pause, a resume, a reset or a shutdown was accepted. What else is accepted begins an activity or a prediction."""

    operation: str


@dataclass(frozen=True)
class StateChanged:
    """The instance moved to another state. Predictions in flight are not a move; see :class:`PredictionBegan`."""

    state: str


@dataclass(frozen=True)
class ActivityBegan:
    """An activity was accepted and began.

    Attributes:
        operation: which.
        arguments: the hook's arguments, by position.
        id: the number of the activity.
        started_at: when, ISO 8601.
        before: where something is saved, what lay in the folder before; None where that was too much to list.
    """

    operation: str
    arguments: tuple[Any, ...] = ()
    id: int = 0
    started_at: str = ""
    before: Mapping[str, FileStamp] | None = field(default_factory=dict)


@dataclass(frozen=True)
class ActivityEnded:
    """An activity ended.

    Attributes:
        operation: which.
        outcome: ``completed``, ``failed``, ``stopped``, ``refused`` or ``unsupported``.
        seconds: how long it took.
        failure: what went wrong, if it failed.
        id: the number of the activity.
        ended_at: when, ISO 8601.
    """

    operation: str
    outcome: str
    seconds: float
    failure: Failure | None = None
    id: int = 0
    ended_at: str = ""


@dataclass(frozen=True)
class InstanceFailed:
    """The instance failed, in an operation or outside of any; it shows this failure until it is reset."""

    operation: str | None
    failure: Failure


@dataclass(frozen=True)
class Noticed:
    """Something did not go as asked and is no failure; a sentence for the status."""

    notice: str


@dataclass(frozen=True)
class PredictionBegan:
    """A prediction for ``records`` records was accepted and is in flight."""

    records: int


@dataclass(frozen=True)
class PredictionAnswered:
    """A prediction of ``records`` records was answered after ``seconds``, well or not."""

    records: int
    seconds: float
    succeeded: bool


@dataclass(frozen=True)
class PredictionWithdrawn:
    """A prediction ended without an answer of the model: its client left, its time was up, or the worker ended."""

    records: int


@dataclass(frozen=True)
class ProgressReported:
    """How far the running activity has come.

    Attributes:
        done: steps done.
        total: steps that there are, where that is known.
        unit: what is counted.
        rate: steps a second, where that is known.
        time_left: seconds left at this rate, where that is known.
    """

    done: int
    total: int | None
    unit: str
    rate: float | None = None
    time_left: float | None = None


@dataclass(frozen=True)
class StatusUpdated:
    """What the model gave to ``update_status``."""

    payload: Any


@dataclass(frozen=True)
class ValueShown:
    """A part of the service shows a value under a key of its own; None removes it."""

    key: str
    value: Any


@dataclass(frozen=True)
class MetricsReported:
    """Metric points ``(key, value, step, timestamp in milliseconds)``, in the order in which the model reported them."""

    points: tuple[tuple[str, float, int | None, int], ...]


@dataclass(frozen=True)
class ParamsReported:
    """Parameters."""

    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TagsSet:
    """Tags."""

    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ArtifactLogged:
    """The model handed over a file or a folder.

    Attributes:
        path: where it was, absolute; of a text or a figure, which was nowhere, the name. Its last part is the artifact's name.
        artifact_path: the folder of the run that it belongs in; None for the uppermost.
        kept: a copy of it as it was at the call, which belongs to the observer that stores it; None where nothing was kept,
            because the worker was started without a spool.
    """

    path: str
    artifact_path: str | None
    kept: str | None


@dataclass(frozen=True)
class InstanceReset:
    """The instance starts anew; nothing that was reported before belongs to what follows."""


Event = (
    WorkerStarted
    | ModelLoaded
    | CallAccepted
    | StateChanged
    | ActivityBegan
    | ActivityEnded
    | InstanceFailed
    | Noticed
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
