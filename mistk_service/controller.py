"""The only owner of the state: accepts or refuses every call, and turns what the worker says into moves of the machine.

It lives on one event loop and needs no locks: whatever is decided is decided without an ``await`` between looking at the
state and changing it.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mistk_service.errors as tree
from mistk_service.errors import (
    Failure,
    InvalidRequest,
    ModelLoadError,
    OperationRefused,
    OperationUnsupported,
    ServiceBusy,
)
from mistk_service.events import (
    ActivityBegan,
    ActivityEnded,
    ArtifactLogged,
    Event,
    InstanceReset,
    MetricsReported,
    Observer,
    ParamsReported,
    TagsSet,
    WorkerStarted,
)
from mistk_service.machine import StateMachine
from mistk_service.paths import require_readable, require_writable_folder
from mistk_service.reports import Activity, Reports
from mistk_service.schemas import InitParams
from mistk_service.states import OPERATIONS, Operation, State, possible_operations
from mistk_service.status import Snapshot, StatusEvent, StatusLog
from mistk_service.streams import Streams
from mistk_service.worker import messages as m
from mistk_service.worker.parent import Worker, WorkerListener

__all__ = ["Controller", "WorkerFactory"]

WorkerFactory = Callable[[WorkerListener], Worker]

#: The part of the grace period that the worker gets; the rest is for ending watches and connections.
_WORKERS_SHARE = 0.8


class Controller:
    """See the module. Calls that begin an operation return the status that was published when it began.

    Args:
        name: the model's name, for the status.
        make_worker: makes a worker that reports to the listener it is given.
        grace: seconds that an activity gets to end by itself when the instance is reset or shut down.
        max_queue: how many stream predictions may be in flight.
        observers: who is told of every event.
    """

    def __init__(
        self,
        name: str,
        make_worker: WorkerFactory,
        *,
        grace: float = 10.0,
        max_queue: int = 1024,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._make_worker = make_worker
        self._grace = grace
        self._observers = tuple(observers)
        self._machine = StateMachine()
        self._reports = Reports()
        self._ids = itertools.count(1)
        self._worker: Worker | None = None
        #: The worker that has been told to end.
        self._leaving: Worker | None = None
        self._worker_count = 0
        self._hooks: frozenset[str] | None = None
        self._activity: Activity | None = None
        self._origin = State.STARTED
        self._nested: Activity | None = None
        self._loaded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ending: asyncio.Task[None] | None = None
        self._streams = Streams(self._ids, max_queue, self._emit)
        #: Set when the instance is terminated and the service may end.
        self.terminated = asyncio.Event()
        self.log = StatusLog(name, str(uuid.uuid4()), self._snapshot)

    # --- what is true now -----------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The state. While stream predictions are in flight, a ready instance is predicting."""
        if self._streams and self._machine.state is State.READY:
            return State.PREDICTING
        return self._machine.state

    @property
    def can_take_work(self) -> bool:
        """Whether a stream prediction would be accepted."""
        return self._machine.state is State.READY

    @property
    def terminating(self) -> bool:
        """Whether the instance is being terminated, or has been."""
        return self._machine.state in (State.TERMINATING, State.TERMINATED)

    @property
    def in_flight(self) -> int:
        """How many stream predictions are in flight."""
        return len(self._streams)

    def possible(self) -> tuple[str, ...]:
        """Return the operations that would be accepted now."""
        if self._streams and self._machine.state is State.READY:
            return ("streamPredict", "reset", "shutdown")
        return tuple(name for name in possible_operations(self._machine.state) if self._is_possible(OPERATIONS[name]))

    def _is_possible(self, row: Operation) -> bool:
        if not self._supports(row):
            return False
        paused = self._activity.operation if self._activity else None
        return row.name not in _RESUMES or _RESUMES[row.name] == paused

    def _supports(self, row: Operation) -> bool:
        return self._hooks is None or row.hook in self._hooks

    def _snapshot(self) -> Snapshot:
        return Snapshot(self.state, self._reports.payload(self._nested or self._activity, self.possible()))

    # --- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the first worker."""
        await self._start_worker()

    async def wait_loaded(self) -> None:
        """Wait until the worker has its model.

        Raises:
            ModelLoadError: it cannot be had.
            WorkerDied: the worker ended over it.
        """
        await asyncio.shield(self._loaded)

    async def _start_worker(self) -> None:
        self._hooks = None
        self._loaded = asyncio.get_running_loop().create_future()
        # Nobody need be waiting for it; then its failure is in the status all the same.
        self._loaded.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._worker = self._make_worker(self)
        await self._worker.start()
        self._emit(WorkerStarted(self._worker_count))
        self._worker_count += 1

    async def _end_worker(self, hook: str) -> None:
        worker = self._leaving = self._worker
        if worker is None or worker.exited:
            return
        worker.send(m.Exit(hook))
        try:
            async with asyncio.timeout(self._grace * _WORKERS_SHARE):
                await worker.wait_exited()
        except TimeoutError:
            self._reports.notice = (
                f"The worker did not end within {self._grace * _WORKERS_SHARE:g} s of being asked to, and was killed."
            )
            worker.kill()
            await worker.wait_exited()

    def reset(self) -> StatusEvent:
        """Begin to replace the worker and the model by fresh ones. While that is under way, a second call changes nothing."""
        self._require(OPERATIONS["reset"])
        if self._machine.state is State.RESETTING:
            return self.log.latest()
        self._machine.move("begin_reset")
        self._ending = asyncio.get_running_loop().create_task(self._reset())
        return self.log.publish()

    async def _reset(self) -> None:
        await self._end_worker("do_reset")
        self._end_activities("stopped")
        notice = self._reports.notice
        self._reports.clear()
        self._reports.notice = notice
        self._emit(InstanceReset())
        await self._start_worker()
        try:
            await self.wait_loaded()
        except (tree.ModelLoadError, tree.WorkerDied):
            return  # the state is failed, and says why
        self._machine.move("end_reset_in_started")
        self.log.publish()

    def shutdown(self) -> StatusEvent:
        """Begin to end everything. While that is under way, or over, a further call changes nothing."""
        if self.terminating:
            return self.log.latest()
        if self._ending is not None:
            self._ending.cancel()
        self._machine.move("begin_shutdown")
        self._ending = asyncio.get_running_loop().create_task(self._shutdown())
        return self.log.publish()

    def kill(self) -> None:
        """End the worker at once, for a service that has no time left."""
        if self._worker is not None:
            self._worker.kill()

    async def _shutdown(self) -> None:
        await self._end_worker("do_terminate")
        self._end_activities("stopped")
        self._machine.move("end_shutdown_in_terminated")
        self.log.publish()
        self.terminated.set()

    # --- operations -----------------------------------------------------------------------------------------------

    def initialize(self, params: InitParams) -> StatusEvent:
        """Begin to initialize the model."""
        objectives = [objective.value for objective in params.objectives]
        return self._begin("initialize", objectives, dict(params.model_properties), dict(params.hyperparameters))

    async def load_data(self, datasets: Mapping[str, Mapping[str, Any]]) -> StatusEvent:
        """Begin to load datasets, given as the wire has them, by ``train``, ``test`` and ``generate``."""
        for key, dataset in datasets.items():
            path = dataset.get("dataPath", dataset.get("data_path"))
            if path is not None:
                await self._check_path("loadData", require_readable, path, f"datasets.{key}.dataPath")
        return self._begin("loadData", dict(datasets))

    async def build_model(self, path: str | None) -> StatusEvent:
        """Begin to build the model, from a checkpoint if a path is given."""
        if path is not None:
            await self._check_path("buildModel", require_readable, path, "modelPath")
        return self._begin("buildModel", path)

    async def save(self, operation: str, path: str, field: str) -> StatusEvent:
        """Begin saveModel, savePredictions or saveGenerations."""
        await self._check_path(operation, require_writable_folder, path, field)
        return self._begin(operation, path)

    def begin(self, operation: str, *arguments: Any) -> StatusEvent:
        """Begin train, predict, generate or updateStreamProperties."""
        return self._begin(operation, *arguments)

    async def stream_predict(self, data: Mapping[str, str], details: bool) -> bytes:
        """Predict for records in base64 by identifier; return the JSON object of predictions.

        Raises:
            HookFailed: the model raised.
            WorkerDied: the worker ended over it.
            ServiceBusy: too many requests are in flight, or the instance was reset or shut down in the meantime.
        """
        row = OPERATIONS["streamPredict"]
        if self._machine.state is not State.READY:
            self._require(row)
        if not self._supports(row):
            raise self._unsupported(row)
        assert self._worker is not None
        future = self._streams.begin(self._worker, data, details)
        self.log.touch()
        return await future

    def pause(self) -> StatusEvent:
        """Begin to pause the training or prediction that runs."""
        self._require(OPERATIONS["pause"])
        assert self._activity is not None
        self._send(m.Pause(self._activity.id))
        self._machine.move("begin_pause")
        self._reports.notice = None
        return self.log.publish()

    def resume(self, operation: str) -> StatusEvent:
        """Let the paused activity go on, by resumeTraining or resumePredict."""
        row = OPERATIONS[operation]
        self._require(row)
        assert self._activity is not None
        assert row.hook is not None
        self._send(m.Resume(self._activity.id, row.hook))
        self._machine.move(f"begin_{operation}")
        self._reports.notice = None
        return self.log.publish()

    def _begin(self, operation: str, *arguments: Any) -> StatusEvent:
        row = OPERATIONS[operation]
        self._require(row)
        assert row.hook is not None
        activity = Activity(next(self._ids), operation)
        self._send(m.Run(activity.id, row.hook, arguments))
        nested = self._machine.state is State.PAUSED
        self._reports.began(nested=nested)
        if nested:
            self._nested = activity
        else:
            self._activity, self._origin = activity, self._machine.state
        self._machine.move(f"begin_{operation}")
        self._emit(ActivityBegan(operation, arguments))
        return self.log.publish()

    async def _check_path(self, operation: str, check: Callable[[str, str], None], path: str, field: str) -> None:
        """Look at the file system, on a thread since it may be slow, and only for a call that the state allows."""
        self._require(OPERATIONS[operation])
        await asyncio.to_thread(check, path, field)

    def _send(self, message: m.ToWorker) -> None:
        assert self._worker is not None
        try:
            self._worker.send(message)
        except UnicodeEncodeError as error:
            raise InvalidRequest(
                f"The request holds text that is no Unicode ({error.reason}); expected JSON without lone surrogates."
            ) from error

    def _require(self, row: Operation) -> None:
        """Refuse an operation that the model does not implement or that the state does not allow."""
        if not self._supports(row):
            raise self._unsupported(row)
        possible = self.possible()
        if row.name in possible:
            return
        activity = self._nested or self._activity
        runs = f"{activity.operation} is under way" if activity else "nothing is running"
        if activity is None and self._streams:
            runs = f"{len(self._streams)} streamPredict are in flight"
        raise OperationRefused(
            f"{row.name} is not possible in the state {self.state}: {runs}. Possible now: {', '.join(possible) or 'nothing'}.",
            operation=row.name,
            state=self.state,
            activity=activity.operation if activity else None,
            possible=possible,
        )

    def _unsupported(self, row: Operation) -> OperationUnsupported:
        possible = self.possible()
        return OperationUnsupported(
            f"The model {self.log.name} does not implement {row.name}: its class has no {row.hook}. "
            f"Possible now, in the state {self.state}: {', '.join(possible) or 'nothing'}.",
            operation=row.name,
            state=self.state,
            possible=possible,
        )

    # --- what the worker says -------------------------------------------------------------------------------------

    def on_message(self, worker: Worker, message: m.FromWorker) -> None:
        """Take a message; one from a worker that has been replaced concerns nobody."""
        if worker is not self._worker:
            return
        if isinstance(message, m.StreamDone | m.StreamFailed):
            self._streams.answer(message)
            self.log.touch()
            return
        _HANDLERS[type(message)](self, message)

    def on_exit(self, worker: Worker, failure: Failure) -> None:
        """Take the end of the worker. Unless it was told to end, the instance has failed."""
        if worker is not self._worker:
            return
        died = tree.WorkerDied(failure)
        if not self._loaded.done():
            self._loaded.set_exception(died)
        if worker is self._leaving:
            self._streams.abandon(
                ServiceBusy("The model was reset or shut down; the prediction was not made.", retry_after=1)
            )
            return
        self._streams.abandon(died)
        if self._machine.state is not State.FAILED:
            self._fail(self._activity.operation if self._activity else None, failure)

    def _on_loaded(self, message: m.Loaded) -> None:
        self._hooks = frozenset(message.hooks)
        self.log.name = message.model
        if not self._loaded.done():
            self._loaded.set_result(None)
        self.log.touch()

    def _on_load_failed(self, message: m.LoadFailed) -> None:
        failure = message.failure
        kind = getattr(tree, message.error, ModelLoadError)
        error = kind(
            failure.message, reference=self._worker.reference if self._worker else "", traceback=failure.traceback
        )
        if not self._loaded.done():
            self._loaded.set_exception(error)
        self._fail("initialize" if self._activity else None, failure)

    def _on_ended(self, message: m.Done | m.Stopped | m.Unsupported | m.Failed) -> None:
        for activity in (self._nested, self._activity):
            if activity is not None and activity.id == message.id:
                self._end(activity, message)

    def _end(self, activity: Activity, message: m.Done | m.Stopped | m.Unsupported | m.Failed) -> None:
        if self._machine.state in (State.RESETTING, State.TERMINATING):
            self._finish(activity, "completed" if isinstance(message, m.Done) else "stopped")
        elif isinstance(message, m.Failed):
            self._fail(activity.operation, message.failure)
        else:
            if isinstance(message, m.Unsupported):
                reason = f" ({message.message})" if message.message else ""
                self._reports.notice = f"The model does not support {activity.operation}{reason}; nothing was done."
            self._finish(activity, _OUTCOMES[type(message)])
            self._leave(activity, completed=isinstance(message, m.Done))
            self.log.publish()

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
            origin = self._origin if row.name != "saveModel" or self._activity is None else State.PAUSED
            self._machine.move(f"end_{row.name}_in_{(row.then or origin) if completed else origin}")

    def _finish(self, activity: Activity, outcome: str, failure: Failure | None = None) -> None:
        if activity is self._nested:
            self._nested = None
        else:
            self._activity = None
        self._reports.ended(activity, outcome)
        self._emit(ActivityEnded(activity.operation, outcome, activity.seconds, failure))

    def _end_activities(self, outcome: str, failure: Failure | None = None) -> None:
        for activity in (self._nested, self._activity):
            if activity is not None:
                self._finish(activity, outcome, failure)

    def _fail(self, operation: str | None, failure: Failure) -> None:
        self._end_activities("failed", failure)
        self._reports.failed(operation, failure)
        if self._machine.state is not State.FAILED:
            self._machine.move("fail")
        self.log.publish()

    def _on_paused(self, message: m.Paused) -> None:
        if self._machine.state is State.PAUSING and self._activity and self._activity.id == message.id:
            self._machine.move("end_pause_in_paused")
            self.log.publish()

    def _on_pause_unsupported(self, message: m.PauseUnsupported) -> None:
        if self._machine.state is State.PAUSING and self._activity:
            self._reports.notice = f"The model does not support pausing; {self._activity.operation} goes on."
            self._machine.move(f"cannot_pause_{self._activity.operation}")
            self.log.publish()

    def _on_resume_unsupported(self, message: m.ResumeUnsupported) -> None:
        if self._activity and self._machine.state is OPERATIONS[self._activity.operation].running:
            self._reports.notice = f"The model does not support resuming; {self._activity.operation} stays paused."
            self._machine.move(f"cannot_resume_{self._activity.operation}")
            self.log.publish()

    def _on_pause_or_resume_failed(self, message: m.PauseFailed | m.ResumeFailed) -> None:
        if self._activity and self._activity.id == message.id:
            self._fail("pause" if isinstance(message, m.PauseFailed) else "resume", message.failure)

    def _on_status(self, message: m.StatusUpdated) -> None:
        self._reports.updated(message.payload)
        self.log.touch()

    def _on_progress(self, message: m.Progressed) -> None:
        self._reports.progressed(message)
        self.log.touch()

    def _on_reported(self, message: m.Reported) -> None:
        self._reports.reported(message)
        self.log.touch()
        if message.metrics:
            self._emit(MetricsReported(message.metrics))
        if message.params:
            self._emit(ParamsReported(message.params))
        if message.tags:
            self._emit(TagsSet(message.tags))
        for path, folder in message.artifacts:
            self._emit(ArtifactLogged(path, folder))

    def _emit(self, event: Event) -> None:
        for observer in self._observers:
            observer(event)


#: Which activity each of the two resumes belongs to.
_RESUMES = {"resumeTraining": "train", "resumePredict": "predict"}

_OUTCOMES: dict[type, str] = {m.Done: "completed", m.Stopped: "stopped", m.Unsupported: "unsupported"}

_HANDLERS: dict[type, Callable[[Controller, Any], None]] = {
    m.Loaded: Controller._on_loaded,
    m.LoadFailed: Controller._on_load_failed,
    m.Done: Controller._on_ended,
    m.Stopped: Controller._on_ended,
    m.Unsupported: Controller._on_ended,
    m.Failed: Controller._on_ended,
    m.Paused: Controller._on_paused,
    m.PauseOvertaken: lambda controller, message: None,
    m.PauseUnsupported: Controller._on_pause_unsupported,
    m.PauseFailed: Controller._on_pause_or_resume_failed,
    m.ResumeUnsupported: Controller._on_resume_unsupported,
    m.ResumeFailed: Controller._on_pause_or_resume_failed,
    m.StatusUpdated: Controller._on_status,
    m.Progressed: Controller._on_progress,
    m.Reported: Controller._on_reported,
}
