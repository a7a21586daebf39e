"""The status of a model as a client sees it: the wire's JSON as typed, frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from mistk_service.errors import Failure
from mistk_service.kinds.model.states import State
from mistk_service.kinds.model.values import ObjectInfo

__all__ = ["LastActivity", "ModelStatus", "Progress", "WatchEvent"]


@dataclass(frozen=True)
class Progress:
    """How far an activity has come.

    Attributes:
        done: units done.
        total: units that there are, where that is known.
        unit: what is counted (``epochs``).
        rate: units a second, where that is known.
        time_left: seconds left at this rate, where that is known.
    """

    done: int
    total: int | None
    unit: str
    rate: float | None = None
    time_left: float | None = None

    @property
    def fraction(self) -> float | None:
        """The part that is done, from 0 to 1; None where the total is not known."""
        return None if self.total is None else min(1.0, self.done / self.total) if self.total else 1.0

    def __str__(self) -> str:
        return f"{self.done} {self.unit}" if self.total is None else f"{self.done} of {self.total} {self.unit}"


@dataclass(frozen=True)
class LastActivity:
    """What ran last, and how it ended.

    Attributes:
        operation: which operation.
        outcome: ``completed``, ``failed``, ``stopped``, ``refused`` or ``unsupported``.
        seconds: how long it took, where the service says so.
    """

    operation: str
    outcome: str
    seconds: float | None = None


@dataclass(frozen=True)
class ModelStatus:
    """What a model does, and all that is known about it, at one version.

    Attributes:
        state: the state.
        resource_version: the version; a watch from it shows everything that follows.
        payload: all of the payload, as it came, with what the model itself put there.
        object_info: name of the model, id of the container and the like.
    """

    state: State
    resource_version: int
    payload: Mapping[str, Any]
    object_info: ObjectInfo

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """Build it from the JSON object of the wire.

        Raises:
            ValueError: it is no status; KeyError, TypeError and AttributeError say the same.
        """
        info = ObjectInfo.from_wire(wire["objectInfo"])
        if type(info.resource_version) is not int:
            raise ValueError(f"objectInfo.resourceVersion is {info.resource_version!r}; expected an integer")
        payload = wire.get("payload") or {}
        if not isinstance(payload, Mapping):
            raise TypeError(f"payload is of type {type(payload).__name__}; expected an object")
        return cls(State(wire["state"]), info.resource_version, payload, info)

    @property
    def activity(self) -> str | None:
        """The operation that runs now, if one does."""
        operation: str | None = self._object("activity").get("operation")
        return operation

    @property
    def progress(self) -> Progress | None:
        """How far the activity has come, where the model tells."""
        wire = self._object("progress")
        if not wire:
            return None
        return Progress(wire["done"], wire.get("total"), wire["unit"], wire.get("rate"), wire.get("timeLeft"))

    @property
    def metrics(self) -> dict[str, float]:
        """The latest value of each metric that the model reported; NaN and infinities are numbers here."""
        return {key: float(metric["value"]) for key, metric in self._object("metrics").items()}

    @property
    def possible(self) -> tuple[str, ...]:
        """The operations that would be accepted now."""
        return tuple(self.payload.get("possible") or ())

    @property
    def notice(self) -> str | None:
        """What did not go as asked and is no failure, as a sentence."""
        notice: str | None = self.payload.get("notice")
        return notice

    @property
    def last_activity(self) -> LastActivity | None:
        """What ran last, and how it ended."""
        wire = self._object("lastActivity")
        return LastActivity(wire["operation"], wire["outcome"], wire.get("seconds")) if wire else None

    @property
    def error(self) -> Failure | None:
        """Why the model failed; None in every other state."""
        wire = self._object("error")
        if self.state is not State.FAILED or not wire:
            return None
        return Failure(wire["type"], wire["message"], wire.get("traceback"), tuple(wire.get("output") or ()))

    def __str__(self) -> str:
        return f"{self.state}, {self.progress}" if self.progress else str(self.state)

    def _object(self, key: str) -> Mapping[str, Any]:
        """Return an object of the payload, an empty one where there is none."""
        value = self.payload.get(key)
        return value if isinstance(value, Mapping) else {}


@dataclass(frozen=True)
class WatchEvent:
    """One event of a watched status.

    Attributes:
        event_type: ``added`` for the first of a container's history, ``modified`` for the others.
        status: the status.
        missed: the first and the last version that were lost before this event, if any were.
        note: the same, as a sentence.
    """

    event_type: str
    status: ModelStatus
    missed: tuple[int, int] | None = None
    note: str | None = None

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """Build it from the JSON object of the wire.

        Raises:
            ValueError: it is no event; KeyError, TypeError and AttributeError say the same.
        """
        missed = wire.get("missed")
        return cls(
            wire["eventType"],
            ModelStatus.from_wire(wire["payload"]),
            (missed["from"], missed["to"]) if missed else None,
            wire.get("note"),
        )
