"""What the status payload shows of a model instance's doings."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar

from mistk_service.errors import Failure
from mistk_service.workers.messages import Progressed, Reported

__all__ = ["Activity", "Progress", "Reports"]

#: Artifacts are listed up to this many; the newest stay.
_ARTIFACTS_SHOWN = 100

#: So many metrics, params and tags each are shown: every event of every watch repeats them. The run has them all.
_KEYS_SHOWN = 1000

_V = TypeVar("_V")


@dataclass(eq=False)
class Activity:
    """An operation under way.

    Attributes:
        id: the id of the command that the worker was sent.
        operation: its name.
        started_at: ISO 8601.
    """

    id: int
    operation: str
    started_at: str = field(default_factory=lambda: _iso(time.time()))
    _started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self._started


@dataclass(frozen=True)
class Progress:
    """How far an activity has come: ``done`` of ``total`` steps, each a ``unit``; ``total`` is None where it is not known."""

    operation: str
    done: int
    total: int | None
    unit: str


class _Metric:
    """The last value of a metric, and the range of all its finite values since the last time that its step went back."""

    __slots__ = ("_high", "_low", "_step", "_timestamp", "_value")

    def __init__(self) -> None:
        self._step: int | None = None
        self._low, self._high = math.inf, -math.inf

    def add(self, value: float, step: int | None, timestamp: int) -> None:
        """Take the next value."""
        if step is not None and self._step is not None and step < self._step:
            # Another training begins, whose values are compared with each other.
            self._low, self._high = math.inf, -math.inf
        if math.isfinite(value):
            self._low, self._high = min(self._low, value), max(self._high, value)
        self._value, self._step, self._timestamp = value, step, timestamp

    def to_json(self) -> dict[str, Any]:
        """Return the MetricValue of the contract."""
        shown = {"value": _finite(self._value), "step": self._step, "timestamp": self._timestamp}
        return shown if self._low > self._high else shown | {"min": self._low, "max": self._high}


class Reports:
    """The payload's part that accumulates; :meth:`payload` puts the whole together."""

    def __init__(self) -> None:
        self._shown: dict[str, Any] = {}
        self.clear()

    def clear(self) -> None:
        """Forget everything of the instance, as after a reset; what others show stays."""
        self.notice: str | None = None
        self._model: Any = None
        self._progress: dict[str, Any] | None = None
        self._progress_aside: dict[str, Any] | None = None
        self._metrics: dict[str, _Metric] = {}
        self._params: dict[str, Any] = {}
        self._tags: dict[str, Any] = {}
        self._artifacts: list[dict[str, Any]] = []
        self._last: dict[str, Any] | None = None
        self._failure: dict[str, Any] | None = None

    def began(self, *, nested: bool) -> None:
        """Note that an activity begins, possibly while another one is paused and keeps its progress."""
        self._progress_aside = self._progress if nested else None
        self._progress = None
        self.notice = None

    def ended(self, activity: Activity, outcome: str) -> None:
        """Note how an activity ended; where it was nested, the progress shown is that of the paused one again."""
        self._progress, self._progress_aside = self._progress_aside, None
        self._last = {
            "operation": activity.operation,
            "outcome": outcome,
            "startedAt": activity.started_at,
            "endedAt": _iso(time.time()),
            "seconds": round(activity.seconds, 3),
        }

    def failed(self, operation: str | None, failure: Failure) -> None:
        """Note why the instance is in the state ``failed``."""
        error: dict[str, Any] = {"type": failure.type, "message": failure.message, "traceback": failure.traceback}
        if failure.output:
            error["output"] = list(failure.output)
        self._failure = {"operation": operation, "error": error}

    def show(self, key: str, value: Any) -> None:
        """Show a value under a key of its own; None removes it."""
        if value is None:
            self._shown.pop(key, None)
        else:
            self._shown[key] = value

    def updated(self, payload: Any) -> None:
        """Take what the model gave to ``update_status``."""
        self._model = payload

    def progressed(self, message: Progressed) -> None:
        """Take how far the activity has come."""
        self._progress = {
            "done": message.done,
            "total": message.total,
            "unit": message.unit,
            "rate": None if message.rate is None else round(message.rate, 3),
            "timeLeft": None if message.left is None else round(message.left, 3),
        }

    def progress(self, activity: Activity | None) -> Progress | None:
        """Return the progress that is shown for an activity, or None where there is none."""
        if activity is None or self._progress is None:
            return None
        return Progress(activity.operation, self._progress["done"], self._progress["total"], self._progress["unit"])

    def reported(self, message: Reported) -> None:
        """Take metrics, params, tags and artifacts; of a metric the last value and the range are shown."""
        for key, value, step, timestamp in message.metrics:
            metric = self._metrics.get(key)
            if metric is None:
                metric = self._metrics[key] = _Metric()
            metric.add(value, step, timestamp)
        self._params.update(message.params)
        self._tags.update(message.tags)
        self._artifacts += [{"path": path, "artifactPath": folder} for path, folder, _ in message.artifacts]
        del self._artifacts[:-_ARTIFACTS_SHOWN]

    def payload(self, activity: Activity | None, possible: Sequence[str]) -> dict[str, Any]:
        """Return the payload of the status.

        What the model gave comes first, at the top level, where MISTK's clients look for it; the service's own keys win over
        a model's, and what they hide is then found whole under ``model``.
        """
        own: dict[str, Any] = {"possible": list(possible), **self._shown}
        if activity is not None:
            own["activity"] = {"operation": activity.operation, "startedAt": activity.started_at}
            if self._progress is not None:
                own["progress"] = self._progress
        if self._metrics:
            own["metrics"] = {key: metric.to_json() for key, metric in _first(self._metrics)}
        if self._params:
            own["params"] = dict(_first(self._params))
        if self._tags:
            own["tags"] = dict(_first(self._tags))
        if self._artifacts:
            own["artifacts"] = self._artifacts.copy()
        all_of = {"metrics": self._metrics, "params": self._params, "tags": self._tags}
        beyond = {key: len(values) - _KEYS_SHOWN for key, values in all_of.items() if len(values) > _KEYS_SHOWN}
        if beyond:
            own["notShown"] = beyond
        if self._last is not None:
            own["lastActivity"] = self._last
        if self.notice is not None:
            own["notice"] = self.notice
        if self._failure is not None:
            own |= self._failure
        if self._model is None:
            return own
        if isinstance(self._model, dict):
            hidden = {"model": self._model} if self._model.keys() & own.keys() else {}
            return {**self._model, **hidden, **own}
        return {"model": self._model, **own}


def _first(values: dict[str, _V]) -> Iterator[tuple[str, _V]]:
    """Return what is shown of values by name: those whose names came first, so that the same ones stay."""
    return islice(values.items(), _KEYS_SHOWN)


def _finite(value: float) -> float | str:
    """Return the value, or the name that MLflow's JSON has for one that JSON cannot express."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
