"""One instance: turns accepted calls and messages of the worker into state changes, published as events.

The controller begins activities; this module handles what follows. Every decision is an event, which the instance emits to its
view and the observers. Like the controller, it lives on one event loop and needs no locks.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, get_args

from mistk_service.core.answer_parts import AnswerParts
from mistk_service.core.events import (
    ActivityBegan,
    ActivityEnded,
    CallAccepted,
    Event,
    InstanceFailed,
    InstanceReset,
    ModelLoaded,
    NoticeShown,
    Observer,
    ReplicasChanged,
    StateChanged,
    ValueShown,
)
from mistk_service.core.in_flight import Predictions, refusal, stopped_by_service
from mistk_service.core.refusals import unsupported
from mistk_service.core.reports import reported
from mistk_service.core.state_machine import StateMachine
from mistk_service.core.status_log import CONFLATION, StatusEvent, StatusLog
from mistk_service.core.view import InstanceView, Status
from mistk_service.errors import Failure, HookFailed, InvalidRequest, MistkError, WorkerDied
from mistk_service.kinds.kind import FAILED, PAUSED, PAUSING, Kind, Role
from mistk_service.kinds.predictions import Answer, Signature
from mistk_service.logs import timestamp
from mistk_service.workers import messages as m
from mistk_service.workers.protocol import FileStamp, Worker

logger = logging.getLogger(__name__)

#: Encodes a status, given the model's name and the version that it is published under.
StatusEncoder = Callable[[str, Status, int], bytes]


class Instance:
    """The state of one instance, with its activities and its predictions in flight.

    Args:
        kind: the kind of container.
        name: the model's name for the status, until the class is loaded.
        encode: encodes the status.
        max_queue: the maximum number of predictions in flight.
        timeout: the timeout of a prediction in seconds; None for no timeout.
        observers: receive every event.
        conflation: minimum seconds between two versions of the status that differ only in the payload.
    """

    def __init__(
        self,
        kind: Kind,
        name: str,
        encode: StatusEncoder,
        *,
        max_queue: int,
        observers: Sequence[Observer],
        timeout: float | None = None,
        conflation: float = CONFLATION,
    ) -> None:
        self.kind = kind
        self._observers = tuple(observers)
        self.view = InstanceView(kind, name)
        self._machine = StateMachine(kind, lambda state: self.emit(StateChanged(state)))
        #: The ids of the commands to the worker.
        self.ids = itertools.count(1)
        #: When each running activity began, on the monotonic clock, by its id.
        self._started: dict[int, float] = {}
        #: The state in which the activity began.
        self._origin = kind.initial
        #: Whether the worker has been asked to end, for a reset or the shutdown.
        self.is_stopping = False
        #: How the latest activity began: None if it is running or has ended, an error if the model refuses it.
        self._verdict: asyncio.Future[InvalidRequest | None] | None = None
        #: What the running activity publishes, for an activity that streams.
        self.parts: AnswerParts | None = None
        self.predictions = Predictions(self.ids, max_queue, timeout, self.emit, partial(unsupported, self.view))
        self.log = StatusLog(
            self.view.status, lambda status, version: encode(self.view.name, status, version), conflation=conflation
        )

    @property
    def running(self) -> ActivityBegan:
        """The activity that is running or paused, for callers that know that there is one."""
        if self.view.activity is None:
            raise RuntimeError(f"Nothing runs in the state {self.view.state}.")
        return self.view.activity

    def emit(self, event: Event) -> None:
        """Pass an event to the view and the observers."""
        self.view.apply(event)
        for observer in self._observers:
            observer(event)

    # --- transitions made by calls --------------------------------------------------------------------------------

    def begin(
        self,
        number: int,
        operation: str,
        arguments: tuple[Any, ...],
        before: Mapping[str, FileStamp] | None,
        caller: str | None = None,
    ) -> StatusEvent:
        """Enter an activity that has been sent to the worker. The caller has checked that the state allows it.

        Args:
            number: the id of the activity.
            operation: its operation.
            arguments: the arguments of its hook.
            before: the previous contents of the folder to save to, see :class:`~mistk_service.core.events.ActivityBegan`.
            caller: the name of the account that called the operation.
        """
        if self._machine.state != PAUSED:
            self._origin = self._machine.state
        self._started[number] = time.monotonic()
        self._verdict = asyncio.get_running_loop().create_future()
        self.emit(ActivityBegan(operation, arguments, number, timestamp(), before, caller))
        self._machine.move(f"begin_{operation}")
        logger.info("%s started.", operation)
        return self.log.publish()

    def enter(self, operation: str) -> StatusEvent:
        """Enter a pause, a resume, a reset or the shutdown. The caller has checked that the state allows it."""
        self.emit(CallAccepted(operation))
        self._machine.move(f"begin_{operation}")
        logger.info("%s started.", operation)
        return self.log.publish()

    async def wait_accepted(self, seconds: float) -> None:
        """Wait until the model is known to run the latest activity, or until the timeout.

        Raises:
            InvalidRequest: the model refused the activity.
        """
        verdict = self._verdict
        if verdict is not None:
            await asyncio.wait({verdict}, timeout=seconds)
            if verdict.done() and (error := verdict.result()) is not None:
                raise error

    def _settle(self, error: InvalidRequest | None = None) -> None:
        if self._verdict is not None and not self._verdict.done():
            self._verdict.set_result(error)

    def start_over(self) -> None:
        """Discard everything but the last notice: the worker has been replaced or is about to be."""
        self.is_stopping = False
        self._end_activities("stopped")
        self.emit(InstanceReset())

    def reset_done(self) -> None:
        """Record that a new worker has loaded the model."""
        self._end_of_role(Role.RESET)
        logger.info("reset ended; a new worker has loaded the model.")

    def shutdown_done(self) -> None:
        """Record that the worker has ended for good."""
        self._end_activities("stopped")
        self._end_of_role(Role.SHUTDOWN)
        logger.info("shutdown ended; the worker has exited.")

    def _end_of_role(self, role: Role) -> None:
        (row,) = self.kind.of_role(role)
        self._machine.move(f"end_{row.name}_in_{row.then}")
        self.log.publish()

    def note(self, notice: str) -> None:
        """Show a sentence in the status."""
        self.emit(NoticeShown(notice))

    def show(self, key: str, value: Any) -> None:
        """Show a value of the service in the status, also after a reset. None removes it."""
        self.emit(ValueShown(key, value))
        self.log.touch()

    def fail(self, operation: str | None, failure: Failure) -> None:
        """Enter the state ``failed``. A later failure does not replace the first."""
        logger.error("%s", failure.log_text(operation))
        self._end_activities("failed", failure)
        if operation is not None and self.kind.operations[operation].affects_predictions:
            # Predictions that waited for this operation must not run as if it had succeeded.
            self.predictions.abandon(HookFailed(operation, failure))
        if self._machine.state == FAILED:
            return
        self.emit(InstanceFailed(operation, failure))
        self._machine.move("fail")
        self.log.publish()

    # --- messages of the worker -----------------------------------------------------------------------------------

    def on_loaded(self, name: str, hooks: frozenset[str], signature: Signature) -> None:
        """Handle the loaded model: the name of its class, its hooks, and what it declares."""
        logger.info("The model %s is loaded.", name)
        self.emit(ModelLoaded(name, hooks, signature))
        self.log.touch()

    def on_load_failed(self, failure: Failure) -> None:
        """Handle a failure to load the model."""
        self.fail(self.view.activity.operation if self.view.activity else None, failure)

    def on_ended(self, failure: Failure, *, expected: bool) -> None:
        """Handle the exit of the worker. The instance has failed unless the worker was asked to exit."""
        if expected:
            return  # the controller waits for the replicas too
        prediction = self.kind.prediction if self.predictions else None
        operation = self.view.activity.operation if self.view.activity else prediction.name if prediction else None
        self.predictions.abandon(WorkerDied(failure))
        self.fail(operation, failure)

    def cut_off_predictions(self) -> None:
        """Fail the predictions that no worker will answer, since all have ended."""
        self.predictions.abandon(stopped_by_service())

    def on_replica_lost(self, worker: Worker, failure: Failure, choose: Callable[[], Worker | None]) -> None:
        """Repeat or fail the predictions that a replica had to answer when it ended.

        Args:
            worker: the replica.
            failure: how it ended.
            choose: returns the worker that is to repeat a prediction, if there is one.
        """
        self.predictions.repeat(worker, choose)
        self.predictions.abandon(WorkerDied(failure), worker)
        self.log.touch()

    def on_replicas(self, usable: int, count: int) -> None:
        """Handle the number of replicas that can predict."""
        self.emit(ReplicasChanged(usable, count))
        self.log.publish()

    def on_message(self, message: m.FromWorker) -> None:
        """Handle any other message of the worker."""
        _HANDLERS[type(message)](self, message)

    def _on_answer(self, message: m.PredictionEnd) -> None:
        self.predictions.answer(message)
        self.log.touch()

    def _on_part(self, message: m.PartPredicted) -> None:
        if self.parts is not None and self.view.activity is not None and self.view.activity.id == message.id:
            self._settle()
            self.parts.add(Answer(message.part))
        else:
            self.predictions.add_part(message)

    def _on_ended(self, message: m.ActivityEnd) -> None:
        for activity in (self.view.nested, self.view.activity):
            if activity is not None and activity.id == message.id:
                self._end(activity, message)

    def _end(self, activity: ActivityBegan, message: m.ActivityEnd) -> None:
        if isinstance(message, m.Refused):
            error = refusal(activity.operation, message.message, message.field)
            self._settle(error)
            self._end_parts(error)
        nested = activity is self.view.nested
        if self.is_stopping:
            self._finish(activity, "completed" if isinstance(message, m.Done) else "stopped")
        elif isinstance(message, m.Failed) and not nested:
            self.fail(activity.operation, message.failure)
        else:
            if notice := self._notice_of(activity, message):
                self.emit(NoticeShown(notice))
            self._finish(activity, _OUTCOMES[type(message)], getattr(message, "failure", None))
            self._leave(activity, message)
            self.log.publish()

    def _notice_of(self, activity: ActivityBegan, message: m.ActivityEnd) -> str | None:
        """Return the notice for an activity that had no effect, if any."""
        if isinstance(message, m.Failed):
            logger.error("%s", message.failure.log_text(activity.operation))
            paused = f"; {self.view.activity.operation} stays paused" if self.view.activity else ""
            return f"{activity.operation} failed ({message.failure}){paused}."
        if isinstance(message, m.Unsupported):
            return f"The model does not support {activity.operation}{_reason(message.message)}; nothing was done."
        if isinstance(message, m.Refused):
            return f"The model refused {activity.operation}{_reason(message.message)}; nothing was done."
        return None

    def _leave(self, activity: ActivityBegan, message: m.ActivityEnd) -> None:
        """Move to the state that follows the activity."""
        row = self.kind.operations[activity.operation]
        if self._machine.state in (PAUSING, PAUSED):
            self._machine.move(f"overtake_pause_{row.name}")
            self.note(f"The pause had no effect: {activity.operation} ended before it reached a pause point.")
        elif self._machine.state in row.running_states:
            # What ran during a pause leads back to the pause, unless the paused activity has ended in the meantime.
            origin = PAUSED if PAUSED in row.allowed and self.view.activity is not None else self._origin
            then = message.state or row.then or origin if isinstance(message, m.Done) else origin
            self._machine.move(f"end_{row.name}_in_{then}")

    def _finish(self, activity: ActivityBegan, outcome: str, failure: Failure | None = None) -> None:
        self._settle()
        if self.kind.operations[activity.operation].streams:
            stopped = stopped_by_service() if self.is_stopping else None
            self._end_parts(HookFailed(activity.operation, failure) if failure else stopped)
        seconds = time.monotonic() - self._started.pop(activity.id)
        if failure is None:
            logger.info("%s ended after %.1f s: %s.", activity.operation, seconds, outcome)
        self.emit(ActivityEnded(activity.operation, outcome, seconds, failure, activity.id, timestamp()))

    def _end_parts(self, error: MistkError | None) -> None:
        parts, self.parts = self.parts, None
        if parts is not None:
            parts.end(error)

    def _end_activities(self, outcome: str, failure: Failure | None = None) -> None:
        for activity in (self.view.nested, self.view.activity):
            if activity is not None:
                self._finish(activity, outcome, failure)

    # --- pause and resume -----------------------------------------------------------------------------------------

    def _is_pausing(self, number: int) -> bool:
        return self._machine.state == PAUSING and self.view.activity is not None and self.view.activity.id == number

    def _on_paused(self, message: m.Paused) -> None:
        if self._is_pausing(message.id):
            (row,) = self.kind.of_role(Role.PAUSE)
            self._machine.move(f"end_{row.name}_in_{PAUSED}")
            logger.info("%s is paused.", self.running.operation)
            self.log.publish()

    def _on_pause_overtaken(self, _: m.PauseOvertaken) -> None:
        """Do nothing: the activity has ended, and the message that says so follows."""

    def _on_pause_unsupported(self, message: m.PauseUnsupported) -> None:
        if self._is_pausing(message.id):
            operation = self.running.operation
            self.note(f"The model does not support pausing{_reason(message.message)}; {operation} continues.")
            self._machine.move(f"cannot_pause_{operation}")
            self.log.publish()

    def _on_resume_unsupported(self, message: m.ResumeUnsupported) -> None:
        activity = self.view.activity
        if activity is None or activity.id != message.id:
            return
        if self._machine.state == self.kind.operations[activity.operation].running:
            reason = _reason(message.message)
            self.note(f"The model does not support resuming{reason}; {activity.operation} stays paused.")
            self._machine.move(f"cannot_resume_{activity.operation}")
            self.log.publish()

    def _on_pause_or_resume_failed(self, message: m.PauseFailed | m.ResumeFailed) -> None:
        activity = self.view.activity
        if activity is None or activity.id != message.id or self.is_stopping:
            return
        (pause,) = self.kind.of_role(Role.PAUSE)
        row = pause if isinstance(message, m.PauseFailed) else self.kind.resume_of(activity.operation)
        self.fail(row.name, message.failure)

    # --- reports --------------------------------------------------------------------------------------------------

    def _on_report(self, message: m.Report) -> None:
        if isinstance(message, m.Progressed):
            self._settle()
        for event in reported(message):
            self.emit(event)
        self.log.touch()


def _reason(text: str) -> str:
    return f" ({text.removesuffix('.')})" if text else ""


_OUTCOMES: dict[type, str] = {
    m.Done: "completed",
    m.Failed: "failed",
    m.Refused: "refused",
    m.Stopped: "stopped",
    m.Unsupported: "unsupported",
}

_HANDLERS: dict[type, Callable[[Instance, Any], None]] = {
    **dict.fromkeys(get_args(m.PredictionEnd), Instance._on_answer),
    m.PartPredicted: Instance._on_part,
    **dict.fromkeys(get_args(m.ActivityEnd), Instance._on_ended),
    m.Paused: Instance._on_paused,
    m.PauseOvertaken: Instance._on_pause_overtaken,
    m.PauseUnsupported: Instance._on_pause_unsupported,
    m.PauseFailed: Instance._on_pause_or_resume_failed,
    m.ResumeUnsupported: Instance._on_resume_unsupported,
    m.ResumeFailed: Instance._on_pause_or_resume_failed,
    **dict.fromkeys(get_args(m.Report), Instance._on_report),
}
