"""Accepts or refuses every call, and makes the worker do what was accepted. With its instance the only owner of the state.

It lives on one event loop and needs no locks: whatever is decided is decided without an ``await`` between looking at the
state and changing it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from mistk_service.core.events import Observer, WorkerStarted
from mistk_service.core.instance import Instance, StatusEncoder
from mistk_service.core.shutdown import Shutdown
from mistk_service.core.status_log import StatusEvent, StatusLog
from mistk_service.core.view import InstanceView
from mistk_service.errors import Failure, InvalidRequest, MistkError, ModelLoadError, WorkerDied
from mistk_service.kinds.call import Call
from mistk_service.kinds.kind import RESETTING, TERMINATED, TERMINATING, Kind, Operation, Role
from mistk_service.kinds.predictions import Answer, Records
from mistk_service.workers.messages import FromWorker, Pause, Resume, Run
from mistk_service.workers.protocol import Files, FileStamp
from mistk_service.workers.supervisor import Supervisor, WorkerFactory

__all__ = ["Controller", "Tracking"]

logger = logging.getLogger(__name__)

#: Seconds that the answer to a call waits at most for a hook that may refuse it.
_TAKEN_UP = 0.5


class Tracking(Protocol):
    """What the controller asks of the store that the container keeps."""

    def run_of(self, operation: str) -> tuple[str, str] | None:
        """Return the id of the run that there is, or that an operation opens, and the address of the store, if any."""

    async def model_path(self, uri: str) -> str:
        """Return where the files of ``models:/...`` or ``runs:/...`` are.

        Raises:
            InvalidRequest: there are none in this store.
        """


class Controller:
    """See the module.

    Args:
        kind: the kind of container.
        name: the model's name, for the status, until the class is loaded.
        make_worker: makes a worker that reports to the listener it is given.
        encode_status: encodes the status for those who read it.
        shutdown: the schedule by which the worker has to end, at a shutdown and at a reset.
        max_queue: how many predictions may be in flight.
        stream_timeout: seconds that one may take, waiting included; None for any number.
        observers: receive every event.
        state_dir: the service's own folder, in which nothing is saved.
        tracking: what the controller asks about runs and models; None where nothing is tracked.
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
    ) -> None:
        self.kind = kind
        self._tracking = tracking
        self._state_dir = None if state_dir is None else Path(os.path.realpath(state_dir))
        self._instance = Instance(
            kind, name, encode_status, max_queue=max_queue, timeout=stream_timeout, observers=observers
        )
        self._shutdown_plan = shutdown or Shutdown()
        self._supervisor = Supervisor(make_worker, self)
        self._ending: asyncio.Task[None] | None = None
        #: Set when the instance is terminated and the service may end.
        self.terminated = asyncio.Event()

    # --- what is true now -----------------------------------------------------------------------------------------

    @property
    def view(self) -> InstanceView:
        """What is true of the instance; not to be changed."""
        return self._instance.view

    @property
    def log(self) -> StatusLog:
        """The history of the status."""
        return self._instance.log

    @property
    def state(self) -> str:
        """The state."""
        return self.view.state

    @property
    def can_take_work(self) -> bool:
        """Whether the model is built and nothing runs but predictions."""
        return self.view.base_state == self.kind.ready

    @property
    def terminating(self) -> bool:
        """Whether the instance is being terminated, or has been."""
        return self.state in (TERMINATING, TERMINATED)

    @property
    def record_encoding(self) -> str | None:
        """What the model declares its records to be encoded in: ``base64``, or nothing."""
        return self._supervisor.record_encoding

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
            ModelLoadError: it cannot be loaded.
            WorkerDied: the worker ended while it loaded the model.
        """
        await self._supervisor.wait_loaded()

    async def _start_worker(self) -> None:
        await self._supervisor.start()
        self._instance.emit(WorkerStarted(self._supervisor.started - 1, self._supervisor.pid))

    async def _wait_dismissed(self) -> None:
        plan = self._shutdown_plan
        if not await self._supervisor.wait_dismissed(*plan.dismissal()):
            self._instance.note(
                f"The worker did not end within {plan.worker_grace:g} s of being told to, and was killed."
            )

    def reset(self) -> StatusEvent:
        """Begin to replace worker and model by fresh ones.

        A second call changes nothing while the old worker ends. One that comes while the fresh one loads its model begins
        anew, lest a model that hangs in its import could only be got rid of by a shutdown.
        """
        (row,) = self.kind.of_role(Role.RESET)
        again = self.state == RESETTING
        if again and self._supervisor.is_leaving:
            return self.log.latest()
        if again and self._ending is not None:
            self._ending.cancel()
        self._supervisor.dismiss(row.hook)
        self._ending = self._in_background(self._reset())
        return self.log.latest() if again else self._instance.enter(row.name)

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
        (row,) = self.kind.of_role(Role.SHUTDOWN)
        self._shutdown_plan.begin()
        if self._ending is not None:
            self._ending.cancel()
        self._supervisor.dismiss(row.hook)
        self._ending = self._in_background(self._shutdown())
        return self._instance.enter(row.name)

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
        """Show a value, of what JSON can express, under a key of the status; None removes it. A reset does not."""
        self._instance.show(key, value)

    def hold_reports(self, held: bool) -> None:
        """Let the worker keep metrics back, or send them again; holds for the workers that follow too.

        For an observer that cannot keep up: a model that reports faster is slowed down, and nothing is lost.
        """
        self._supervisor.hold_reports(held)

    # --- operations -----------------------------------------------------------------------------------------------

    async def call(self, operation: str, call: Call = Call()) -> StatusEvent:  # noqa: B008 - it is frozen
        """Carry out an operation; return the status that was published when it began.

        Args:
            operation: its name, of the kind's operations; a prediction goes through :meth:`predict`.
            call: its arguments, and the places that it reads and writes.

        Raises:
            OperationRefused: the state does not allow it; nothing has changed.
            OperationUnsupported: the class does not implement it; nothing has changed.
            InvalidRequest: an argument cannot be used; nothing has changed.
        """
        row = self.kind.operations[operation]
        if row.role is not Role.SHUTDOWN:
            self._instance.require(operation)
        if row.role is Role.ACTIVITY:
            return await self._begin(row, call)
        if row.role is Role.RESET:
            return self.reset()
        if row.role is Role.SHUTDOWN:
            return self.shutdown()
        message = (Pause if row.role is Role.PAUSE else Resume)(self._instance.running.id, row.hook)
        self._supervisor.send(message)
        return self._instance.enter(operation)

    async def wait_taken_up(self) -> None:
        """Wait until the model runs the activity that began last, has ended it, or half a second is over.

        Raises:
            InvalidRequest: the model refused the request, and the state is where it was.
        """
        await self._instance.wait_taken_up(_TAKEN_UP)

    async def _begin(self, row: Operation, call: Call) -> StatusEvent:
        """Begin an activity once its places turn out to be usable."""
        files = self._supervisor.worker.files
        call = await self._readable(call, files)
        made: list[Path] = []
        # Only what the model writes from here on is what it saves.
        before: Mapping[str, FileStamp] | None = {}
        for field, path in call.writes.items():
            folders, before = await files.prepare_folder(path, field, self._state_dir)
            made += folders
        try:
            # Something else may have been accepted meanwhile.
            self._instance.require(row.name)
            number = next(self._instance.ids)
            run = None if self._tracking is None else self._tracking.run_of(row.name)
            self._supervisor.send(Run(number, row.hook, call.arguments, run))
        except MistkError:
            await files.remove_folders(made)  # a refusal leaves nothing behind
            raise
        return self._instance.begin(number, row.name, call.arguments, before)

    async def _readable(self, call: Call, files: Files) -> Call:
        """Return a call whose places can be read, with the paths of models in the store in place of their URIs."""
        found: dict[str, str] = {}
        for field, path in call.reads.items():
            if path.startswith(("models:/", "runs:/")):
                found[path] = await self._stored_path(path, field)
            await files.require_readable(found.get(path, path), field)
        arguments = tuple(found.get(each, each) if isinstance(each, str) else each for each in call.arguments)
        return replace(call, arguments=arguments)

    async def _stored_path(self, uri: str, field: str) -> str:
        if self._tracking is None:
            raise InvalidRequest(
                f"{field}: {uri[:200]!r} is a model of a tracking store, and this service keeps none (--no-tracking); "
                "expected the path of a file or folder.",
                field=field,
            )
        return await self._tracking.model_path(uri)

    def predict(self, records: Records, details: bool = False) -> asyncio.Future[Answer]:
        """Predict for records; return what will be the model's answer.

        To cancel the future is to withdraw the request. It raises HookFailed if the model raised, WorkerDied if the worker
        ended over it, PredictionTimedOut if it took too long, and ServiceBusy if the instance was reset or shut down.

        Raises:
            OperationRefused: the state does not allow it.
            ServiceBusy: too many requests are in flight.
        """
        assert self.kind.prediction is not None
        self._instance.require(self.kind.prediction.name)
        future = self._instance.predictions.begin(self._supervisor.worker, records, details)
        self.log.touch()
        return future

    # --- what becomes of the worker -------------------------------------------------------------------------------

    def on_loaded(self, model: str, hooks: frozenset[str]) -> None:
        """Take the name of the model class that the worker has loaded, and its hooks."""
        self._instance.on_loaded(model, hooks)

    def on_load_failed(self, failure: Failure) -> None:
        """Take the reason why the worker has no model."""
        self._instance.on_load_failed(failure)

    def on_message(self, message: FromWorker) -> None:
        """Take what the worker says."""
        self._instance.on_message(message)

    def on_ended(self, failure: Failure, *, expected: bool) -> None:
        """Take the end of the worker."""
        self._instance.on_ended(failure, expected=expected)


def _log_fault(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.critical("The instance could not be reset or shut down.", exc_info=error)
