"""The status of a model in the client: the JSON of the wire as typed, frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from mistk_service.errors import Failure
from mistk_service.kinds.kind import FAILED
from mistk_service.kinds.model.states import State
from mistk_service.kinds.values import ObjectInfo


@dataclass(frozen=True)
class Progress:
    """The progress of an activity.

    Attributes:
        done: the number of units done.
        total: the total number of units, if known.
        unit: the unit, such as ``epochs``.
        rate: units per second, if known.
        time_left: the estimated seconds left, if known.
    """

    done: int
    total: int | None
    unit: str
    rate: float | None = None
    time_left: float | None = None

    @property
    def fraction(self) -> float | None:
        """The fraction that is done, from 0 to 1; None if the total is not known."""
        return None if self.total is None else min(1.0, self.done / self.total) if self.total else 1.0

    def __str__(self) -> str:
        return f"{self.done} {self.unit}" if self.total is None else f"{self.done} of {self.total} {self.unit}"


@dataclass(frozen=True)
class LastActivity:
    """The last activity, and how it ended.

    Attributes:
        operation: the operation.
        outcome: ``completed``, ``failed``, ``stopped``, ``refused`` or ``unsupported``.
        seconds: the duration, if known.
    """

    operation: str
    outcome: str
    seconds: float | None = None


@dataclass(frozen=True)
class ModelStatus:
    """The status of a model at one version.

    Attributes:
        state: the state.
        resource_version: the version; a watch from it returns everything that follows.
        payload: the whole payload, unchanged, including the model's own entries.
        object_info: the name of the model, the id of the container and so on.
    """

    state: str
    resource_version: int
    payload: Mapping[str, Any]
    object_info: ObjectInfo

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], states: type[StrEnum] = State) -> Self:
        """Return the status for the JSON object of the wire.

        Raises:
            ValueError: the object is not a status; KeyError, TypeError and AttributeError mean the same.
        """
        info = ObjectInfo.from_wire(wire["objectInfo"])
        if type(info.resource_version) is not int:
            raise ValueError(f"objectInfo.resourceVersion is {info.resource_version!r}; expected an integer")
        payload = wire.get("payload") or {}
        if isinstance(payload, str):  # MISTK's own service
            payload = {"error": {"type": "Failure", "message": payload}}
        if not isinstance(payload, Mapping):
            raise TypeError(f"payload is of type {type(payload).__name__}; expected an object")
        return cls(states(wire["state"]), info.resource_version, payload, info)

    @property
    def activity(self) -> str | None:
        """The running operation, if any."""
        operation: str | None = self._object("activity").get("operation")
        return operation

    @property
    def progress(self) -> Progress | None:
        """The progress of the activity, if the model reports it."""
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
        """A message about something that did not happen as requested and is not a failure."""
        notice: str | None = self.payload.get("notice")
        return notice

    @property
    def last_activity(self) -> LastActivity | None:
        """The last activity, and how it ended."""
        wire = self._object("lastActivity")
        return LastActivity(wire["operation"], wire["outcome"], wire.get("seconds")) if wire else None

    @property
    def error(self) -> Failure | None:
        """The failure, in the state ``failed``; otherwise None."""
        wire = self._object("error")
        if self.state != FAILED or not wire:
            return None
        return Failure(wire["type"], wire["message"], wire.get("traceback"), tuple(wire.get("output") or ()))

    def __str__(self) -> str:
        return f"{self.state}, {self.progress}" if self.progress else str(self.state)

    def _object(self, key: str) -> Mapping[str, Any]:
        """Return an object of the payload, or an empty one."""
        value = self.payload.get(key)
        return value if isinstance(value, Mapping) else {}


@dataclass(frozen=True)
class WatchEvent:
    """One event of a watched status.

    Attributes:
        event_type: ``added`` for the first event of a container, ``modified`` for the others.
        status: the status.
        missed: the first and the last version that were lost before this event, if any.
        note: the same as a message.
    """

    event_type: str
    status: ModelStatus
    missed: tuple[int, int] | None = None
    note: str | None = None

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], states: type[StrEnum] = State) -> Self:
        """Return the event for the JSON object of the wire.

        Raises:
            ValueError: the object is not an event; KeyError, TypeError and AttributeError mean the same.
        """
        missed = wire.get("missed")
        return cls(
            wire["eventType"],
            ModelStatus.from_wire(wire["payload"], states),
            (missed["from"], missed["to"]) if missed else None,
            wire.get("note"),
        )
