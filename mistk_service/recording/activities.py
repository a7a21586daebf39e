"""Follows the running activities of an instance, which determine the status of its run."""

from __future__ import annotations

from collections.abc import Mapping

from mistk_service.core.events import ActivityBegan, ActivityEnded
from mistk_service.kinds.kind import Operation
from mistk_service.tracking.values import RunStatus

#: The status of a run by the outcome of an activity; the most severe status is last.
_OUTCOMES = {"completed": RunStatus.FINISHED, "stopped": RunStatus.KILLED, "failed": RunStatus.FAILED}
_SEVERITY = (RunStatus.FINISHED, RunStatus.KILLED, RunStatus.FAILED)


class Activities:
    """Follows the activities.

    Attributes:
        running: what runs, by operation; two if something is saved while a training is paused.
    """

    def __init__(self, operations: Mapping[str, Operation]) -> None:
        self._operations = operations
        self._worst = RunStatus.FINISHED
        self.running: dict[str, ActivityBegan] = {}

    @property
    def status(self) -> RunStatus:
        """RUNNING, or the most severe status of the activities since the last idle time."""
        return RunStatus.RUNNING if self.running else self._worst

    def begin(self, event: ActivityBegan) -> None:
        """Record the beginning of an activity."""
        if not self.running:
            self._worst = RunStatus.FINISHED
        self.running[event.operation] = event

    def end(self, event: ActivityEnded) -> None:
        """Record the end of an activity."""
        if not self.is_save_during_pause(event):
            self._raise_severity(_OUTCOMES.get(event.outcome, RunStatus.FINISHED))
        del self.running[event.operation]

    def kill(self) -> None:
        """Record that all running activities were killed."""
        if self.running:
            self._raise_severity(RunStatus.KILLED)
            self.running.clear()

    def is_save_during_pause(self, event: ActivityEnded) -> bool:
        """Return whether the failed activity only saved something during a pause, which does not make the run fail."""
        saves = self._operations[event.operation].saves is not None
        return saves and event.outcome == "failed" and len(self.running) > 1

    def _raise_severity(self, status: RunStatus) -> None:
        self._worst = max(self._worst, status, key=_SEVERITY.index)
