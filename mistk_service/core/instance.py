"""A model instance as the service knows it: its state, what it is doing, and how the worker's messages move it.

The calls that begin something are the controller's business; what follows from them happens here. Like the controller it lives
on one event loop and needs no locks.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from mistk_service.core.events import (
    ActivityBegan,
    ActivityEnded,
    ArtifactLogged,
    Event,
    InstanceReset,
    MetricsReported,
    Observer,
    ParamsReported,
    TagsSet,
)
from mistk_service.core.machine import StateMachine
from mistk_service.core.predictions import Streams, cut_off, refusal
from mistk_service.core.status_log import Snapshot, StatusEvent, StatusLog
from mistk_service.core.status_payload import Activity, Progress, Reports
from mistk_service.errors import Failure, HookFailed, InvalidRequest, OperationRefused, OperationUnsupported, WorkerDied
from mistk_service.kinds.model.states import OPERATIONS, Operation, State
from mistk_service.workers import messages as m

__all__ = ["Instance"]

logger = logging.getLogger(__name__)


class Instance:
    """See the module.

    Args:
        name: the model's name, for the status, until the worker tells that of its class.
        max_queue: how many stream predictions may be in flight.
        stream_timeout: seconds that one may take; None for any number.
        observers: who is told of every event.
        container_id: the container's UUID; a new one unless given.
    """

    def __init__(
        self,
        name: str,
        *,
        max_queue: int,
        observers: Sequence[Observer],
        stream_timeout: float | None = None,
        container_id: str | None = None,
    ) -> None:
        self._observers = tuple(observers)
        self._machine = StateMachine()
        self._reports = Reports()
        #: Numbers for what the worker is sent.
        self.ids = itertools.count(1)
        #: The hooks that the model has; None while that is not known.
        self.hooks: frozenset[str] | None = None
        #: What runs, or is paused.
        self.activity: Activity | None = None
        #: What runs while that is paused.
        self._nested: Activity | None = None
        #: Where the activity began.
        self._origin = State.STARTED
        #: What the model says to the activity that began last: None that it is at it, or has ended; an error that it refuses.
        self._verdict: asyncio.Future[InvalidRequest | None] | None = None
        self.streams = Streams(self.ids, max_queue, stream_timeout, self.emit, self._streams_unsupported)
        self.log = StatusLog(name, container_id or str(uuid.uuid4()), self._snapshot)

    # --- what is true now -----------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The state. While stream predictions are in flight, a ready instance is predicting."""
        if self.streams and self._machine.state is State.READY:
            return State.PREDICTING
        return self._machine.state

    @property
    def ready(self) -> bool:
        """Whether the model is built and nothing runs but stream predictions."""
        return self._machine.state is State.READY

    @property
    def running(self) -> Activity:
        """What runs, or is paused; for those who know that there is something."""
        if self.activity is None:
            raise RuntimeError(f"Nothing runs in the state {self.state}.")
        return self.activity

    def possible(self) -> tuple[str, ...]:
        """Return the operations that would be accepted now, in the table's order."""
        return tuple(row.name for row in OPERATIONS.values() if self._is_possible(row))

    def _is_possible(self, row: Operation) -> bool:
        if self._machine.state not in row.allowed or not self._supports(row):
            return False
        if self.streams and self.ready:
            return row.name in _BESIDE_STREAMS
        return row.name not in _RESUMES or _RESUMES[row.name] == self.running.operation

    def _supports(self, row: Operation) -> bool:
        return self.hooks is None or row.hook in self.hooks

    @property
    def progress(self) -> Progress | None:
        """How far the running activity has come; None where nothing runs or reports it."""
        return self._reports.progress(self._nested or self.activity)

    def _snapshot(self) -> Snapshot:
        return Snapshot(self.state, self._reports.payload(self._nested or self.activity, self.possible()))

    # --- moves that calls make ------------------------------------------------------------------------------------

    def begin(self, activity: Activity, began: ActivityBegan) -> StatusEvent:
        """Enter the activity, which the worker has been told to run; the state allows it."""
        nested = self._machine.state is State.PAUSED
        self._reports.began(nested=nested)
        if nested:
            self._nested = activity
        else:
            self.activity, self._origin = activity, self._machine.state
        self._verdict = asyncio.get_running_loop().create_future()
        self._machine.move(f"begin_{activity.operation}")
        logger.info("%s has begun.", activity.operation)
        self.emit(began)
        return self.log.publish()

    async def wait_taken_up(self, seconds: float) -> None:
        """Wait until the model is known to be at the activity that began last, or until the time is up.

        Raises:
            InvalidRequest: the model refused it.
        """
        verdict = self._verdict
        if verdict is not None:
            await asyncio.wait({verdict}, timeout=seconds)
            if verdict.done() and (error := verdict.result()) is not None:
                raise error

    def _settle(self, error: InvalidRequest | None = None) -> None:
        if self._verdict is not None and not self._verdict.done():
            self._verdict.set_result(error)

    def enter(self, operation: str) -> StatusEvent:
        """Enter pause, a resume, reset or shutdown; the state allows it."""
        self._machine.move(f"begin_{operation}")
        logger.info("%s has begun.", operation)
        self._reports.notice = None
        return self.log.publish()

    def start_anew(self) -> None:
        """Forget everything but the last notice: the worker has been replaced, or is about to be."""
        self._end_activities("stopped")
        notice = self._reports.notice
        self._reports.clear()
        self._reports.notice = notice
        self.emit(InstanceReset())

    def reset_done(self) -> None:
        """Note that a fresh worker has loaded the model."""
        self._machine.move("end_reset_in_started")
        logger.info("reset has ended; a fresh worker has loaded the model.")
        self.log.publish()

    def shutdown_done(self) -> None:
        """Note that the worker has ended for good."""
        self._end_activities("stopped")
        self._machine.move("end_shutdown_in_terminated")
        logger.info("shutdown has ended; the worker is gone.")
        self.log.publish()

    def note(self, notice: str) -> None:
        """Show a sentence in the status."""
        self._reports.notice = notice

    def show(self, key: str, value: Any) -> None:
        """Show a value of the service's own in the status, also after a reset; None removes it."""
        self._reports.show(key, value)
        self.log.touch()

    def fail(self, operation: str | None, failure: Failure) -> None:
        """Enter the state failed, which a later failure does not overwrite."""
        logger.error("%s", failure.told(operation))
        self._end_activities("failed", failure)
        if operation == "updateStreamProperties":
            # Those that waited for it must not be predicted for with the properties before.
            self.streams.abandon(HookFailed(operation, failure))
        if self._machine.state is State.FAILED:
            return
        self._reports.failed(operation, failure)
        self._machine.move("fail")
        self.log.publish()

    def require(self, operation: str) -> None:
        """Refuse an operation that the model does not implement or that the state does not allow.

        Raises:
            OperationUnsupported: the class has no such hook.
            OperationRefused: the state does not allow it.
        """
        row = OPERATIONS[operation]
        if self._is_possible(row):
            return
        facts = self._facts(operation)
        can = f"Possible now: {', '.join(facts['possible']) or 'nothing'}."
        activity = self._nested or self.activity
        if not self._supports(row):
            raise OperationUnsupported(
                f"The model {self.log.name} does not implement {operation}: its class has no {row.hook}. The state is "
                f"{self.state}. {can}",
                **facts,
            )
        runs = f"{activity.operation} is under way" if activity else "nothing is running"
        if activity is None and self.streams:
            runs = f"{len(self.streams)} streamPredict are in flight"
        raise OperationRefused(f"{operation} is not possible in the state {self.state}: {runs}. {can}", **facts)

    def _facts(self, operation: str) -> dict[str, Any]:
        """Return what every refusal of an operation tells."""
        activity = self._nested or self.activity
        return {
            "operation": operation,
            "state": self.state,
            "activity": activity.operation if activity else None,
            "possible": self.possible(),
        }

    def _streams_unsupported(self, reason: str) -> OperationUnsupported:
        message = "The model does not support streamPredict" + (f": {reason}" if reason else ".")
        return OperationUnsupported(message, **self._facts("streamPredict"))

    # --- what the worker says -------------------------------------------------------------------------------------

    def on_loaded(self, model: str) -> None:
        """Take the name of the model class."""
        logger.info("The model %s is loaded.", model)
        self.log.name = model
        self.log.touch()

    def on_load_failed(self, failure: Failure) -> None:
        """Take the reason why there is no model."""
        self.fail("initialize" if self.activity else None, failure)

    def on_ended(self, failure: Failure, *, expected: bool) -> None:
        """Take the end of the worker. Unless it was told to end, the instance has failed."""
        if expected:
            self.streams.abandon(cut_off())
        else:
            operation = self.activity.operation if self.activity else "streamPredict" if self.streams else None
            self.streams.abandon(WorkerDied(failure))
            self.fail(operation, failure)

    def on_message(self, message: m.FromWorker) -> None:
        """Take anything else that the worker says."""
        _HANDLERS[type(message)](self, message)

    def _on_stream_answer(self, message: m.StreamDone | m.StreamFailed | m.StreamRefused | m.StreamWithdrawn) -> None:
        self.streams.answer(message)
        self.log.touch()

    def _on_ended(self, message: _Ended) -> None:
        for activity in (self._nested, self.activity):
            if activity is not None and activity.id == message.id:
                self._end(activity, message)

    def _end(self, activity: Activity, message: _Ended) -> None:
        if isinstance(message, m.Refused):
            self._settle(refusal(activity.operation, message.message, message.field))
        if self._machine.state in (State.RESETTING, State.TERMINATING):
            self._finish(activity, "completed" if isinstance(message, m.Done) else "stopped")
        elif isinstance(message, m.Failed) and activity is not self._nested:
            self.fail(activity.operation, message.failure)
        else:
            self._reports.notice = self._notice(activity, message) or self._reports.notice
            self._finish(activity, _OUTCOMES[type(message)], getattr(message, "failure", None))
            self._leave(activity, completed=isinstance(message, m.Done))
            self.log.publish()

    def _notice(self, activity: Activity, message: _Ended) -> str | None:
        """Return what is to be said of an activity that led nowhere."""
        if isinstance(message, m.Failed):
            logger.error("%s", message.failure.told(activity.operation))
            paused = f"; {self.activity.operation} is as it was" if self.activity else ""
            return f"{activity.operation} failed ({message.failure}){paused}."
        if isinstance(message, m.Unsupported):
            return f"The model does not support {activity.operation}{_reason(message.message)}; nothing was done."
        if isinstance(message, m.Refused):
            return f"The model refused {activity.operation}{_reason(message.message)}; nothing was done."
        return None

    def _leave(self, activity: Activity, *, completed: bool) -> None:
        """Move to where the activity leads."""
        row = OPERATIONS[activity.operation]
        state = self._machine.state
        if state in (State.PAUSING, State.PAUSED):
            self._machine.move("overtake_pause")
            self._reports.notice = (
                f"The pause was overtaken: {activity.operation} ended before it reached a pause point."
            )
        elif state is row.running:
            # saveModel at a pause point goes back to the pause, unless what was paused has ended meanwhile.
            origin = self._origin if row.name != "saveModel" or self.activity is None else State.PAUSED
            self._machine.move(f"end_{row.name}_in_{(row.then or origin) if completed else origin}")

    def _finish(self, activity: Activity, outcome: str, failure: Failure | None = None) -> None:
        if activity is self._nested:
            self._nested = None
        else:
            self.activity = None
        self._settle()
        self._reports.ended(activity, outcome)
        if failure is None:
            logger.info("%s has ended after %.1f s: %s.", activity.operation, activity.seconds, outcome)
        self.emit(ActivityEnded(activity.operation, outcome, activity.seconds, failure))

    def _end_activities(self, outcome: str, failure: Failure | None = None) -> None:
        for activity in (self._nested, self.activity):
            if activity is not None:
                self._finish(activity, outcome, failure)

    def _on_paused(self, message: m.Paused) -> None:
        if self._machine.state is State.PAUSING and self.activity and self.activity.id == message.id:
            self._machine.move("end_pause_in_paused")
            logger.info("%s is paused.", self.activity.operation)
            self.log.publish()

    def _on_pause_overtaken(self, _: m.PauseOvertaken) -> None:
        """Do nothing: the end of the activity, which is on its way, tells the same."""

    def _on_pause_unsupported(self, message: m.PauseUnsupported) -> None:
        if self._machine.state is State.PAUSING and self.activity and self.activity.id == message.id:
            reason = _reason(message.message)
            self._reports.notice = f"The model does not support pausing{reason}; {self.activity.operation} goes on."
            self._machine.move(f"cannot_pause_{self.activity.operation}")
            self.log.publish()

    def _on_resume_unsupported(self, message: m.ResumeUnsupported) -> None:
        activity = self.activity
        if activity and activity.id == message.id and self._machine.state is OPERATIONS[activity.operation].running:
            reason = _reason(message.message)
            self._reports.notice = f"The model does not support resuming{reason}; {activity.operation} stays paused."
            self._machine.move(f"cannot_resume_{activity.operation}")
            self.log.publish()

    def _on_pause_or_resume_failed(self, message: m.PauseFailed | m.ResumeFailed) -> None:
        ending = self._machine.state in (State.RESETTING, State.TERMINATING)
        if self.activity and self.activity.id == message.id and not ending:
            resume = next(name for name, paused in _RESUMES.items() if paused == self.activity.operation)
            self.fail("pause" if isinstance(message, m.PauseFailed) else resume, message.failure)

    def _on_status(self, message: m.StatusUpdated) -> None:
        self._reports.updated(message.payload)
        self.log.touch()

    def _on_progress(self, message: m.Progressed) -> None:
        self._settle()
        self._reports.progressed(message)
        self.log.touch()

    def _on_reported(self, message: m.Reported) -> None:
        self._reports.reported(message)
        self.log.touch()
        if message.metrics:
            self.emit(MetricsReported(message.metrics))
        if message.params:
            self.emit(ParamsReported(message.params))
        if message.tags:
            self.emit(TagsSet(message.tags))
        for path, folder, kept in message.artifacts:
            self.emit(ArtifactLogged(path, folder, kept))

    def emit(self, event: Event) -> None:
        """Tell the observers."""
        for observer in self._observers:
            observer(event)


def _reason(text: str) -> str:
    return f" ({text})" if text else ""


#: How an activity ends, as the worker says it.
_Ended = m.Done | m.Stopped | m.Refused | m.Unsupported | m.Failed

#: What is accepted while stream predictions are in flight.
_BESIDE_STREAMS = frozenset({"streamPredict", "reset", "shutdown"})

#: Which activity each of the two resumes belongs to.
_RESUMES = {"resumeTraining": "train", "resumePredict": "predict"}

_OUTCOMES: dict[type, str] = {
    m.Done: "completed",
    m.Failed: "failed",
    m.Refused: "refused",
    m.Stopped: "stopped",
    m.Unsupported: "unsupported",
}

_HANDLERS: dict[type, Callable[[Instance, Any], None]] = {
    m.StreamDone: Instance._on_stream_answer,
    m.StreamFailed: Instance._on_stream_answer,
    m.StreamRefused: Instance._on_stream_answer,
    m.StreamWithdrawn: Instance._on_stream_answer,
    m.Done: Instance._on_ended,
    m.Stopped: Instance._on_ended,
    m.Refused: Instance._on_ended,
    m.Unsupported: Instance._on_ended,
    m.Failed: Instance._on_ended,
    m.Paused: Instance._on_paused,
    m.PauseOvertaken: Instance._on_pause_overtaken,
    m.PauseUnsupported: Instance._on_pause_unsupported,
    m.PauseFailed: Instance._on_pause_or_resume_failed,
    m.ResumeUnsupported: Instance._on_resume_unsupported,
    m.ResumeFailed: Instance._on_pause_or_resume_failed,
    m.StatusUpdated: Instance._on_status,
    m.Progressed: Instance._on_progress,
    m.Reported: Instance._on_reported,
}
