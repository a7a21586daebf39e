"""When a wait for a state has succeeded or failed."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from mistk_service.client.status import ModelStatus
from mistk_service.errors import InvalidRequest, WaitFailed, WaitTimedOut
from mistk_service.kinds.kind import FAILED, PAUSED, PAUSING, TERMINATED, TERMINATING
from mistk_service.kinds.model.states import State


class Wait:
    """A wait for one of several states, which takes one status after the other.

    Raises:
        InvalidRequest: there are no states, or an unknown one.
    """

    def __init__(self, states: str | Iterable[str], known: type[StrEnum] = State) -> None:
        self._wanted = _parse(states, known)
        self._last: ModelStatus | None = None

    def is_over(self, status: ModelStatus) -> bool:
        """Return whether the state is reached.

        Raises:
            WaitFailed: the state will not be reached.
        """
        previous, self._last = self._last, status
        if previous is not None and previous.object_info.id != status.object_info.id:
            raise self._failed("another container has replaced this one")
        if status.state in self._wanted:
            return True
        if status.state == FAILED:
            operation = status.payload.get("operation") or "its last operation"
            raise self._failed(f"the model failed in {operation}: {status.error or 'no reason is given'}")
        if status.state == TERMINATED or (status.state == TERMINATING and TERMINATED not in self._wanted):
            raise self._failed("the container is shutting down")
        if self._pause_failed(previous, status):
            raise self._failed(status.notice or f"the pause had no effect; the model is {status.state}")
        return False

    def timed_out(self, timeout: float | None) -> WaitTimedOut:
        """Return the error for a wait that has timed out."""
        last = "the service did not report its state" if self._last is None else f"it is {self._last}"
        return WaitTimedOut(f"The model did not reach {self._names()} within {timeout:g} s; {last}.", status=self._last)

    def _pause_failed(self, previous: ModelStatus | None, status: ModelStatus) -> bool:
        """Return whether an expected pause was cancelled, because the activity ended or cannot pause."""
        return PAUSED in self._wanted and previous is not None and previous.state == PAUSING and status.state != PAUSING

    def _failed(self, reason: str) -> WaitFailed:
        failure = self._last.error if self._last else None
        return WaitFailed(f"The model will not reach {self._names()}: {reason}", status=self._last, failure=failure)

    def _names(self) -> str:
        return " or ".join(sorted(self._wanted))


def _parse(states: str | Iterable[str], known: type[StrEnum]) -> frozenset[str]:
    names = [states] if isinstance(states, str) else list(states)
    try:
        wanted = frozenset(known(name) for name in names)
    except ValueError as error:
        raise InvalidRequest(f"states: {error}; expected one of {', '.join(known)}.", field="states") from None
    if not wanted:
        raise InvalidRequest("states: expected at least one state.", field="states")
    return wanted
