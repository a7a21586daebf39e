"""Accepts or refuses every call, and makes the worker do what was accepted. With its instance the only owner of the state.

It lives on one event loop and needs no locks: whatever is decided is decided without an ``await`` between looking at the
state and changing it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from mistk_service.core.events import ActivityBegan, Observer, WorkerStarted
from mistk_service.core.instance import Instance
from mistk_service.core.status_log import StatusEvent, StatusLog
from mistk_service.core.status_payload import Activity, Progress
from mistk_service.errors import Failure, InvalidRequest, MistkError, ModelLoadError, WorkerDied
from mistk_service.kinds.model.states import OPERATIONS, State
from mistk_service.kinds.model.values import InitParams, MistkDataset
from mistk_service.workers.host.paths import (
    FileStamp,
    contents_of,
    on_thread,
    remove_folders,
    require_readable,
    require_writable_folder,
)
from mistk_service.workers.messages import FromWorker, Pause, Resume, Run
from mistk_service.workers.supervisor import Supervisor, WorkerFactory

__all__ = ["Controller", "Tracking"]

logger = logging.getLogger(__name__)

#: Seconds that the answer to a call waits at most for a hook that may refuse it.
_TAKEN_UP = 0.5

#: The part of the grace period that the worker gets; the rest is for what the service has to end after it.
_WORKERS_SHARE = 0.8


class Tracking(Protocol):
    """What the controller asks of the store that the container keeps."""

    def run_of(self, operation: str) -> tuple[str, str] | None:
        """Return the id of the run that there is, or that an operation opens, and the address of the store, if any."""

    def model_path(self, uri: str) -> str:
        """Return where the files of ``models:/...`` or ``runs:/...`` are; called on a thread.

        Raises:
            InvalidRequest: there are none in this store.
        """


class Controller:
    """See the module. Calls that begin an operation return the status that was published when it began.

    All of them raise OperationRefused, with nothing changed, when the state does not allow the operation, its subclass
    OperationUnsupported when the model class does not implement it, and InvalidRequest when an argument cannot be used.

    Args:
        name: the model's name, for the status, until the model is loaded.
        make_worker: makes a worker that reports to the listener it is given.
        grace: seconds that an activity gets to end by itself when the instance is reset or shut down.
        max_queue: how many stream predictions may be in flight.
        stream_timeout: seconds that one may take, waiting included; None for any number.
        observers: who is told of every event.
        container_id: the container's UUID; a new one unless given.
        state_dir: the service's own folder, in which nothing is saved.
        tracking: what the controller asks about runs and models; None where nothing is tracked.
    """

    def __init__(
        self,
        name: str,
        make_worker: WorkerFactory,
        *,
        grace: float = 10.0,
        max_queue: int = 1024,
        stream_timeout: float | None = None,
        observers: Sequence[Observer] = (),
        container_id: str | None = None,
        state_dir: str | None = None,
        tracking: Tracking | None = None,
    ) -> None:
        self._tracking = tracking
        self._state_dir = None if state_dir is None else Path(os.path.realpath(state_dir))
        self._instance = Instance(
            name,
            max_queue=max_queue,
            stream_timeout=stream_timeout,
            observers=observers,
            container_id=container_id,
        )
        self._grace = grace
        #: Until when the service is to have ended, on the monotonic clock; None unless it is to end.
        self.deadline: float | None = None
        self._workers_grace = grace * _WORKERS_SHARE
        self._supervisor = Supervisor(make_worker, self, grace=self._workers_grace)
        self._ending: asyncio.Task[None] | None = None
        #: Set when the instance is terminated and the service may end.
        self.terminated = asyncio.Event()

    # --- what is true now -----------------------------------------------------------------------------------------

    @property
    def log(self) -> StatusLog:
        """The history of the status."""
        return self._instance.log

    @property
    def state(self) -> State:
        """The state."""
        return self._instance.state

    @property
    def can_take_work(self) -> bool:
        """Whether the model is built and nothing runs but stream predictions."""
        return self._instance.ready

    @property
    def terminating(self) -> bool:
        """Whether the instance is being terminated, or has been."""
        return self.state in (State.TERMINATING, State.TERMINATED)

    @property
    def in_flight(self) -> int:
        """How many stream predictions are in flight."""
        return len(self._instance.streams)

    @property
    def progress(self) -> Progress | None:
        """How far the running activity has come; None where nothing runs or reports it."""
        return self._instance.progress

    @property
    def record_encoding(self) -> str | None:
        """What the model declares the records of its stream predictions to be encoded in: ``base64``, or nothing."""
        return self._supervisor.record_encoding

    def possible(self) -> tuple[str, ...]:
        """Return the operations that would be accepted now."""
        return self._instance.possible()

    # --- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the first worker.

        Raises:
            WorkerDied: it could not be started.
        """
        await self._start_worker()

    async def wait_loaded(self) -> None:
        """Wait until the worker has its model.

        Raises:
            ModelLoadError: it cannot be had.
            WorkerDied: the worker ended over it.
        """
        await self._supervisor.wait_loaded()

    async def _start_worker(self) -> None:
        self._instance.hooks = None
        await self._supervisor.start()
        self._instance.emit(WorkerStarted(self._supervisor.started - 1, self._supervisor.pid))

    async def _wait_dismissed(self) -> None:
        if not await self._supervisor.wait_dismissed():
            self._instance.note(
                f"The worker did not end within {self._workers_grace:g} s of being told to, and was killed."
            )

    def reset(self) -> StatusEvent:
        """Begin to replace worker and model by fresh ones.

        A second call changes nothing while the old worker ends. One that comes while the fresh one loads its model begins
        anew, lest a model that hangs in its import could only be got rid of by a shutdown.
        """
        self._instance.require("reset")
        again = self.state is State.RESETTING
        if again and self._supervisor.is_leaving:
            return self.log.latest()
        if again and self._ending is not None:
            self._ending.cancel()
        self._supervisor.dismiss("do_reset")
        self._ending = self._in_background(self._reset())
        return self.log.latest() if again else self._instance.enter("reset")

    async def _reset(self) -> None:
        await self._wait_dismissed()
        self._instance.start_anew()
        try:
            await self._start_worker()
            await self.wait_loaded()
        except (ModelLoadError, WorkerDied):
            pass  # the state is failed already, and says why
        else:
            self._instance.reset_done()

    def shutdown(self) -> StatusEvent:
        """Begin to end everything. While that is under way, or over, a further call changes nothing."""
        if self.terminating:
            return self.log.latest()
        self.deadline = time.monotonic() + self._grace
        if self._ending is not None:
            self._ending.cancel()
        self._supervisor.dismiss("do_terminate")
        self._ending = self._in_background(self._shutdown())
        return self._instance.enter("shutdown")

    async def _shutdown(self) -> None:
        await self._wait_dismissed()
        self._instance.shutdown_done()
        self.terminated.set()

    @staticmethod
    def _in_background(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task whose fault, which would be one of ours, is not lost."""
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(_log_fault)
        return task

    def kill(self) -> None:
        """End the worker at once, for a service that has no time left."""
        self._supervisor.kill()

    def show(self, key: str, value: Any) -> None:
        """Show a value, of what JSON can express, under a key of the status of its own; None removes it. A reset does not."""
        self._instance.show(key, value)

    def hold_reports(self, held: bool) -> None:
        """Let the worker keep metrics back, or send them again; holds for the workers that follow too.

        For an observer that cannot keep up: a model that reports faster is slowed down, and nothing is lost.
        """
        self._supervisor.hold_reports(held)

    # --- operations -----------------------------------------------------------------------------------------------

    def initialize(self, params: InitParams) -> StatusEvent:
        """Begin to initialize the model."""
        objectives = [objective.value for objective in params.objectives]
        return self._begin("initialize", objectives, dict(params.model_properties), dict(params.hyperparameters))

    async def load_data(self, datasets: Mapping[str, Mapping[str, Any]]) -> StatusEvent:
        """Begin to load datasets, given as the wire has them, by what they are for (``train``, ``test``, ``generate`` ...)."""
        self._instance.require("loadData")
        for key, dataset in datasets.items():
            path = _data_path(key, dataset)
            if path is not None:
                await on_thread(require_readable, path, f"datasets.{key}.dataPath")
        return self._begin("loadData", dict(datasets))

    async def build_model(self, path: str | None) -> StatusEvent:
        """Begin to build the model, from a checkpoint if a path is given."""
        self._instance.require("buildModel")
        if path is not None:
            if path.startswith(("models:/", "runs:/")):
                path = await on_thread(self._model_path, path)
            await on_thread(require_readable, path, "modelPath")
        return self._begin("buildModel", path)

    def _model_path(self, uri: str) -> str:
        if self._tracking is None:
            raise InvalidRequest(
                f"modelPath: {uri[:200]!r} is a model of a tracking store, and this service keeps none (--no-tracking); "
                "expected the path of a file or folder.",
                field="modelPath",
            )
        return self._tracking.model_path(uri)

    async def save(self, operation: str, path: str, field: str) -> StatusEvent:
        """Begin saveModel, savePredictions or saveGenerations."""
        self._instance.require(operation)
        made = await on_thread(require_writable_folder, path, field, self._state_dir)
        # Only what the model writes from here on is what it saves.
        before = await on_thread(contents_of, path, self._state_dir)
        try:
            return self._begin(operation, path, before=before)
        except MistkError:
            # Something else was accepted meanwhile. A refusal leaves nothing behind.
            await on_thread(remove_folders, made)
            raise

    def begin(self, operation: str, *arguments: Any) -> StatusEvent:
        """Begin train, predict, generate or updateStreamProperties."""
        return self._begin(operation, *arguments)

    async def wait_taken_up(self) -> None:
        """Wait until the model is at the operation that was begun last, has ended it, or half a second is over.

        Raises:
            InvalidRequest: the model refused the request, and the state is where it was.
        """
        await self._instance.wait_taken_up(_TAKEN_UP)

    def stream_predict(self, data: Mapping[str, str], details: bool) -> asyncio.Future[bytes]:
        """Predict for records by identifier; return what will be the model's answer in JSON.

        To cancel the future is to withdraw the request. It raises HookFailed if the model raised, WorkerDied if the worker
        ended over it, PredictionTimedOut if it took too long, and ServiceBusy if the instance was reset or shut down.

        Raises:
            ServiceBusy: too many requests are in flight.
        """
        self._instance.require("streamPredict")
        future = self._instance.streams.begin(self._supervisor.worker, data, details)
        self.log.touch()
        return future

    def pause(self) -> StatusEvent:
        """Begin to pause the training or prediction that runs."""
        self._instance.require("pause")
        self._supervisor.send(Pause(self._instance.running.id))
        return self._instance.enter("pause")

    def resume(self, operation: str) -> StatusEvent:
        """Let the paused activity go on, by resumeTraining or resumePredict."""
        self._instance.require(operation)
        self._supervisor.send(Resume(self._instance.running.id, OPERATIONS[operation].hook))
        return self._instance.enter(operation)

    def _begin(
        self, operation: str, *arguments: Any, before: Mapping[str, FileStamp] | None = MappingProxyType({})
    ) -> StatusEvent:
        self._instance.require(operation)
        activity = Activity(next(self._instance.ids), operation)
        run = None if self._tracking is None else self._tracking.run_of(operation)
        self._supervisor.send(Run(activity.id, OPERATIONS[operation].hook, arguments, run))
        return self._instance.begin(activity, ActivityBegan(operation, arguments, before))

    # --- what becomes of the worker -------------------------------------------------------------------------------

    def on_loaded(self, model: str) -> None:
        """Take the name of the model class that the worker has loaded."""
        self._instance.hooks = self._supervisor.hooks
        self._instance.on_loaded(model)

    def on_load_failed(self, failure: Failure) -> None:
        """Take the reason why the worker has no model."""
        self._instance.on_load_failed(failure)

    def on_message(self, message: FromWorker) -> None:
        """Take what the worker says."""
        self._instance.on_message(message)

    def on_ended(self, failure: Failure, *, expected: bool) -> None:
        """Take the end of the worker."""
        self._instance.on_ended(failure, expected=expected)


def _data_path(key: str, dataset: Mapping[str, Any]) -> str | None:
    """Return where the files of a dataset are.

    Raises:
        InvalidRequest: the dataset is malformed.
    """
    try:
        return MistkDataset.from_wire(dataset).data_path
    except InvalidRequest as error:
        raise InvalidRequest(f"datasets.{key}.{error}", field=f"datasets.{key}.{error.field}") from error


def _log_fault(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.critical("The instance could not be reset or shut down.", exc_info=error)
