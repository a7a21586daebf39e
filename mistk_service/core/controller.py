"""Accepts or refuses every call, and has the worker carry out what was accepted.

Only the controller and its instance change the state. They live on one event loop and need no locks: the controller never
awaits between reading the state and changing it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from contextvars import Context
from dataclasses import replace
from typing import Any, Protocol

import msgspec

from mistk_service.core.answer_parts import AnswerParts
from mistk_service.core.call_paths import CallPaths
from mistk_service.core.events import CallAccepted, Observer, WorkerStarted
from mistk_service.core.hyperparameters import checked
from mistk_service.core.instance import Instance, StatusEncoder
from mistk_service.core.refusals import require
from mistk_service.core.shutdown import Shutdown
from mistk_service.core.status_log import CONFLATION, StatusEvent, StatusLog
from mistk_service.core.view import InstanceView
from mistk_service.errors import Failure, InvalidRequest, MistkError, ModelLoadError, WorkerDied
from mistk_service.kinds.call import Call
from mistk_service.kinds.kind import RESETTING, TERMINATED, TERMINATING, Kind, Operation, Role
from mistk_service.kinds.predictions import Answer, Inputs, Signature
from mistk_service.workers.messages import AllowParts, Pause, Refused, Resume, Run, Withdraw
from mistk_service.workers.protocol import Worker, WorkerFactory
from mistk_service.workers.supervisor import Supervisor

logger = logging.getLogger(__name__)

#: Maximum time in seconds that a response waits for a hook that may refuse the request.
_ACCEPT_TIMEOUT = 0.5


class Tracking(Protocol):
    """What the controller needs to know about the container's tracking store."""

    def run_of(self, operation: str, arguments: tuple[Any, ...]) -> tuple[str, str] | None:
        """Return the id of the current run, or of the run that an operation opens, and the URL of the store, if any."""

    async def stored_path(self, uri: str, field: str) -> tuple[str, str]:
        """Return the path of the files of ``models:/...`` or ``runs:/...``, which a field of a request names.

        Raises:
            InvalidRequest: this store does not have them.
        """


class Controller:
    """Accepts or refuses every call to one instance, and owns the instance and its worker.

    Args:
        kind: the kind of container.
        name: the model's name for the status, until the class is loaded.
        make_worker: makes a worker that reports to the given listener.
        encode_status: encodes the status for its readers.
        shutdown: the schedule that sets the deadlines of the worker, on shutdown and on reset.
        max_queue: the maximum number of predictions in flight.
        stream_timeout: the timeout of a prediction in seconds, including the time in the queue; None for no timeout.
        observers: receive every event.
        state_dir: the service's own folder, to which no model may save.
        tracking: answers questions about runs and models; None if nothing is tracked.
        conflation: minimum seconds between two versions of the status that differ only in the payload.
        replicas: the number of workers that predict. One is the worker itself; more are separate workers.
    """

    def __init__(
        self,
        kind: Kind,
        name: str,
        make_worker: WorkerFactory,
        encode_status: StatusEncoder,
        *,
        shutdown: Shutdown | None = None,
        max_queue: int = 1024,
        stream_timeout: float | None = None,
        observers: Sequence[Observer] = (),
        state_dir: str | None = None,
        tracking: Tracking | None = None,
        conflation: float = CONFLATION,
        replicas: int = 1,
    ) -> None:
        self.kind = kind
        self._tracking = tracking
        self._paths = CallPaths(None if tracking is None else tracking.stored_path, state_dir)
        self._instance = Instance(
            kind,
            name,
            encode_status,
            max_queue=max_queue,
            timeout=stream_timeout,
            observers=observers,
            conflation=conflation,
        )
        self._shutdown_plan = shutdown or Shutdown()
        # As a listener of the supervisor; the others are methods.
        self.on_message, self.on_load_failed = self._instance.on_message, self._instance.on_load_failed
        self.on_ended, self.on_replicas = self._instance.on_ended, self._instance.on_replicas
        self._supervisor = Supervisor(make_worker, self)
        self._replicas = replicas
        self._ending: asyncio.Task[None] | None = None
        #: A call with hyperparameters that waits until the class, which declares them, is loaded.
        self._early: tuple[Run, Operation] | None = None
        #: The name and the version of the registered model that an operation has read last.
        self.registered: tuple[str, str] | None = None
        #: Set when the instance is terminated and the service may exit.
        self.terminated = asyncio.Event()
        #: Set by the service when the model is loaded, and built if the service builds it itself. It stays set.
        self.started = asyncio.Event()

    # --- current state --------------------------------------------------------------------------------------------

    @property
    def view(self) -> InstanceView:
        """The view of the instance, read-only."""
        return self._instance.view

    @property
    def log(self) -> StatusLog:
        """The history of the status."""
        return self._instance.log

    @property
    def state(self) -> str:
        """The current state."""
        return self.view.state

    @property
    def can_accept_work(self) -> bool:
        """Whether the class is loaded and, for a model, built. True while it predicts, too."""
        view = self.view
        return view.hooks is not None and (view.base_state in self.kind.work_states or view.accepts_predictions)

    @property
    def terminating(self) -> bool:
        """Whether the instance is shutting down or has shut down."""
        return self.state in (TERMINATING, TERMINATED)

    @property
    def signature(self) -> Signature:
        """What the model declares; empty until it is loaded."""
        return self._supervisor.signature

    @property
    def documents(self) -> Mapping[str, Any]:
        """What the class declares, by the path of the API that returns it; empty until it is loaded."""
        return self._supervisor.documents

    # --- start, reset and shutdown --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start a worker.

        Raises:
            WorkerDied: the worker could not be started.
        """
        await self._supervisor.start()
        self._instance.emit(WorkerStarted(self._supervisor.started - 1, self._supervisor.pid))

    async def wait_loaded(self) -> None:
        """Wait until the worker has loaded the model.

        Raises:
            ModelLoadError: the model cannot be loaded.
            WorkerDied: the worker ended while it was loading the model.
        """
        await self._supervisor.wait_loaded()

    async def _wait_stopped(self) -> None:
        plan = self._shutdown_plan
        if not await self._supervisor.wait_stopped(*plan.stop_deadlines()):
            self._instance.note(f"The worker did not end within {plan.worker_grace:g} s and was killed.")
        self._instance.cut_off_predictions()

    def reset(self) -> StatusEvent:
        """Begin to replace the worker and the model with fresh ones.

        A second call changes nothing while the old worker is ending. A call while the new worker is loading its model starts
        over. Otherwise only a shutdown could end a model that hangs on import.
        """
        (row,) = self.kind.of_role(Role.RESET)
        again = self.state == RESETTING
        if again and self._supervisor.is_stopping:
            return self.log.latest()
        if again and self._ending is not None:
            self._ending.cancel()
        self._stop_worker(row)
        self._ending = self._in_background(self._reset())
        return self.log.latest() if again else self._instance.enter(row.name)

    def _stop_worker(self, row: Operation) -> None:
        self._instance.is_stopping = True
        self._early = None
        self._supervisor.request_stop(row.hook)

    async def _reset(self) -> None:
        await self._wait_stopped()
        self._instance.start_over()
        self.registered = None
        try:
            await self.start()
            await self.wait_loaded()
        except (ModelLoadError, WorkerDied):
            pass  # the state is already failed and gives the reason
        else:
            self._instance.reset_done()

    def shutdown(self) -> StatusEvent:
        """Begin the shutdown. Further calls change nothing."""
        if self.terminating:
            return self.log.latest()
        (row,) = self.kind.of_role(Role.SHUTDOWN)
        self._shutdown_plan.begin()
        if self._ending is not None:
            self._ending.cancel()
        self._stop_worker(row)
        self._ending = self._in_background(self._shutdown())
        return self._instance.enter(row.name)

    async def _shutdown(self) -> None:
        await self._wait_stopped()
        self._instance.shutdown_done()
        self.terminated.set()

    @staticmethod
    def _in_background(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task and log its exception, which would be a bug of the service.

        It does not take over the context of the request: a worker that a reset starts outlives it.
        """
        task = asyncio.get_running_loop().create_task(work, context=Context())
        task.add_done_callback(_log_fault)
        return task

    def kill(self) -> None:
        """Kill the worker at once. For a service that has to exit immediately."""
        self._supervisor.kill()

    def show(self, key: str, value: Any) -> None:
        """Show a value, anything that JSON can express, under a key of the status. None removes it. A reset does not."""
        self._instance.show(key, value)

    def hold_reports(self, held: bool) -> None:
        """Tell the worker to hold metrics back, or to send them again. This also applies to later workers.

        It is meant for an observer that cannot keep up. A model that reports faster is slowed down, and nothing is lost.
        """
        self._supervisor.hold_reports(held)

    # --- operations -----------------------------------------------------------------------------------------------

    async def call(self, operation: str, call: Call = Call()) -> StatusEvent:  # noqa: B008 - it is frozen
        """Begin an operation and return the status that was published at its beginning.

        Args:
            operation: the name of an operation of the kind; predictions go through :meth:`predict`.
            call: the arguments, and the paths that the operation reads and writes.

        Raises:
            OperationRefused: the state does not allow it. Nothing has changed.
            OperationUnsupported: the class does not implement it. Nothing has changed.
            InvalidRequest: an argument is invalid. Nothing has changed.
        """
        row = self.kind.operations[operation]
        if row.role not in (Role.SHUTDOWN, Role.CANCEL):
            require(self.view, row)
        if row.role is Role.ACTIVITY:
            return await self._begin(row, call)
        if row.role is Role.RESET:
            return self.reset()
        if row.role is Role.SHUTDOWN:
            return self.shutdown()
        if row.role is Role.CANCEL:
            return self._cancel(row)
        message = (Pause if row.role is Role.PAUSE else Resume)(self._instance.running.id, row.hook)
        self._supervisor.send(message)
        return self._instance.enter(operation)

    def _cancel(self, row: Operation) -> StatusEvent:
        """Ask an activity to end early, if it is running."""
        if self.view.is_possible(row):
            self._instance.emit(CallAccepted(row.name))
            self._supervisor.send(Withdraw(self._instance.running.id))
        return self.log.latest()

    async def stream(self, operation: str, call: Call) -> AnswerParts:
        """Begin an activity that streams, and return what its hook publishes. Close the parts to end the activity early.

        Raises:
            OperationRefused, OperationUnsupported, InvalidRequest: as :meth:`call`.
        """
        await self.call(operation, call)
        number = self._instance.running.id
        parts = AnswerParts(
            allow=lambda count: self._supervisor.send(AllowParts(number, count)),
            withdraw=lambda: self._supervisor.send(Withdraw(number)),
        )
        self._instance.parts = parts
        return parts

    async def wait_accepted(self) -> None:
        """Wait until the model runs or has ended the latest activity, for at most half a second.

        Raises:
            InvalidRequest: the model refused the request, and the previous state is restored.
        """
        await self._instance.wait_accepted(_ACCEPT_TIMEOUT)

    async def _begin(self, row: Operation, call: Call) -> StatusEvent:
        """Begin an activity once its paths have been checked."""
        files = self._supervisor.worker.files
        if row.takes_hyperparameters:
            call = replace(call, arguments=self._checked(call.arguments))
        arguments, registered = await self._paths.readable(call, files)
        # Only what the model writes from here on counts as saved by it.
        made, before = await self._paths.writable(call, files)
        try:
            # Another call may have been accepted in the meantime.
            require(self.view, row)
            number = next(self._instance.ids)
            run = None if self._tracking is None else self._tracking.run_of(row.name, call.arguments)
            message = Run(number, row.hook, arguments, run)
            if row.takes_hyperparameters and self.view.hooks is None:
                self._early = message, row
            else:
                self._supervisor.run(message, row)
            self.registered = registered or self.registered
        except MistkError:
            await files.remove_folders(made)  # a refused call leaves no folders behind
            raise
        return self._instance.begin(number, row.name, call.arguments, before, call.caller)

    def _checked(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return arguments whose last one, the hyperparameters, is as the class declares it, if the class is loaded."""
        *others, hyperparameters = arguments
        return (*others, checked(self.signature.hyperparameters, hyperparameters))

    def _send_early(self) -> None:
        """Send the call that has waited for the class to the worker, or refuse it."""
        early, self._early = self._early, None
        if early is None:
            return
        call, row = early
        try:
            self._supervisor.run(msgspec.structs.replace(call, arguments=self._checked(call.arguments)), row)
        except InvalidRequest as error:
            self._instance.on_message(Refused(call.id, str(error), error.field))

    def predict(self, inputs: Inputs, details: bool = False) -> asyncio.Future[Answer | AnswerParts]:
        """Predict and return a future for the model's answer, or for its parts if the model gives it in parts.

        Cancel the future, or close the parts, to withdraw the request. The future raises HookFailed if the model raised an
        exception, WorkerDied if the worker died, PredictionTimedOut on a timeout, and ServiceBusy if the instance was reset or
        shut down.

        Args:
            inputs: records; or named tensors or a prompt, for a class with the hook for them.
            details: whether to add explanations of the predictions for records.

        Raises:
            OperationRefused: the state does not allow it.
            OperationUnsupported: the class does not have the hook.
            ServiceBusy: too many requests are in flight.
        """
        row = self.kind.prediction
        assert row is not None
        row = row.taking(type(inputs))
        require(self.view, row)
        predictions = self._instance.predictions
        worker = self._supervisor.for_prediction(predictions.in_flight_of)
        repeatable = self.signature.idempotent_predictions and worker is not self._supervisor.worker
        future = predictions.begin(row.name, worker, inputs, details, repeatable=repeatable)
        self.log.touch()
        return future

    # --- messages of the supervisor -------------------------------------------------------------------------------

    def on_loaded(self, model: str, hooks: frozenset[str]) -> None:
        """Handle the loaded model: the name of its class, and its hooks."""
        self._instance.on_loaded(model, hooks, self.signature)
        self._send_early()
        prediction = self.kind.prediction
        count = 0
        if prediction is not None and self.kind.has_replicas and hooks.intersection(prediction.hooks):
            count = self._replicas if self._replicas > 1 else int(self.signature.serve_while_training)
        self._supervisor.start_replicas(count)

    def on_replica_lost(self, worker: Worker, failure: Failure) -> None:
        """Handle the unexpected exit of a replica, whose predictions are lost."""
        self._instance.on_replica_lost(worker, failure, self._other_worker)

    def _other_worker(self) -> Worker | None:
        if not self.view.accepts_predictions:
            return None
        return self._supervisor.for_prediction(self._instance.predictions.in_flight_of)


def _log_fault(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.critical("The instance could not be reset or shut down.", exc_info=error)
