"""What happens to a model instance, as values: the one seam through which trackers and counters follow the lifecycle.

The controller hands every event, in order, to its observers. An observer returns at once and does not raise; what takes time
it does elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mistk_service.errors import Failure
from mistk_service.workers.host.paths import FileStamp

__all__ = [
    "ActivityBegan",
    "ActivityEnded",
    "ArtifactLogged",
    "Event",
    "InstanceReset",
    "MetricsReported",
    "Observer",
    "ParamsReported",
    "StreamAnswered",
    "TagsSet",
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
class ActivityBegan:
    """An operation was accepted.

    Attributes:
        operation: which.
        arguments: the hook's, by position.
        before: where something is saved, what lay in the folder then; None where there was too much to look at.
    """

    operation: str
    arguments: tuple[Any, ...] = ()
    before: Mapping[str, FileStamp] | None = field(default_factory=dict)


@dataclass(frozen=True)
class ActivityEnded:
    """An operation ended.

    Attributes:
        operation: which.
        outcome: ``completed``, ``failed``, ``stopped``, ``refused`` or ``unsupported``.
        seconds: how long it took.
        failure: what went wrong, if it failed.
    """

    operation: str
    outcome: str
    seconds: float
    failure: Failure | None = None


@dataclass(frozen=True)
class StreamAnswered:
    """A stream prediction of ``records`` records was answered after ``seconds``, well or not."""

    records: int
    seconds: float
    succeeded: bool


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
        kept: a copy of it as it was at the call, which belongs to whoever takes it from there; None where nothing was kept,
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
    | ActivityBegan
    | ActivityEnded
    | StreamAnswered
    | MetricsReported
    | ParamsReported
    | TagsSet
    | ArtifactLogged
    | InstanceReset
)

Observer = Callable[[Event], None]
