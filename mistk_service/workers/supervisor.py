"""Starts, watches and stops the worker of an instance, and replaces it with a new one."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import mistk_service.errors as tree
from mistk_service.deadline import Deadline
from mistk_service.errors import Failure, InvalidRequest, ModelLoadError, WorkerDied
from mistk_service.kinds.kind import Operation
from mistk_service.kinds.predictions import Signature
from mistk_service.workers.framing import Unsendable
from mistk_service.workers.messages import (
    CallLastHook,
    Exit,
    FromWorker,
    HoldReports,
    Loaded,
    LoadFailed,
    Run,
    ToWorker,
)
from mistk_service.workers.protocol import Worker, WorkerFactory
from mistk_service.workers.replicas import Replicas


class SupervisorListener(Protocol):
    """Receives the worker's messages and its exit. Called on the event loop."""

    def on_loaded(self, model: str, hooks: frozenset[str]) -> None:
        """Handle the loaded model: the name of its class, and its hooks."""

    def on_load_failed(self, failure: Failure) -> None:
        """Handle a failure to load the model."""

    def on_message(self, message: FromWorker) -> None:
        """Handle any other message."""

    def on_ended(self, failure: Failure, *, expected: bool) -> None:
        """Handle the exit of the worker. ``expected`` is true if the worker had been asked to exit."""

    def on_replica_lost(self, worker: Worker, failure: Failure) -> None:
        """Handle the unexpected exit of a replica, whose predictions are lost."""

    def on_replicas(self, usable: int, count: int) -> None:
        """Handle the number of workers, of ``count`` replicas, that can predict whatever the worker itself does."""


class Supervisor:
    """Owns a pool of workers: one for activities, and replicas of it that only predict. Without replicas, it predicts too.

    Messages of a worker that has been replaced are dropped.

    Args:
        make_worker: makes a worker that reports to the given listener.
        listener: receives what happens to the workers.
    """

    def __init__(self, make_worker: WorkerFactory, listener: SupervisorListener) -> None:
        self._make_worker = make_worker
        self._listener = listener
        self._replicas = Replicas(make_worker, listener.on_message, listener.on_replica_lost, listener.on_replicas)
        self._worker: Worker | None = None
        #: The worker that has been asked to end.
        self._stopping: Worker | None = None
        self._loaded = _future()
        self._reports_held = False
        self._turns = itertools.count()
        #: The number of workers started.
        self.started = 0
        #: What the model declares about its predictions.
        self.signature = Signature()
        #: What the class declares, by the path of the API that returns it.
        self.documents: Mapping[str, Any] = {}

    @property
    def worker(self) -> Worker:
        """The worker. Call :meth:`start` first."""
        if self._worker is None:
            raise RuntimeError("No worker was started.")
        return self._worker

    @property
    def pid(self) -> int:
        """The id of the process that the worker runs in."""
        return self.worker.pid or os.getpid()

    async def start(self) -> None:
        """Start a worker, or replace one that has ended.

        Raises:
            WorkerDied: the worker could not be started. The listener has been notified of its end.
        """
        # Callers may still be waiting for the model of a worker that had to end while loading. They get this worker's model.
        if self._loaded.done():
            self._loaded = _future()
        self._worker = self._make_worker(self, None)
        self._replicas.expect()
        if self._reports_held:
            self._worker.send(HoldReports(True))
        await self._worker.start()
        self.started += 1

    async def wait_loaded(self) -> None:
        """Wait until the worker has loaded its model.

        Raises:
            ModelLoadError: the model cannot be loaded.
            WorkerDied: the worker ended while it was loading the model.
        """
        await asyncio.shield(self._loaded)

    def start_replicas(self, count: int) -> None:
        """Start the replicas, once the worker has loaded its model, unless it has been asked to end."""
        if self.is_stopping:
            return
        self._replicas.start(count, copied=self.signature.copied_after_training)

    def for_prediction(self, in_flight: Callable[[Worker], int]) -> Worker:
        """Return the worker for the next prediction: the replica with the fewest in flight, or the worker if there is none.

        Replicas with the same number take turns.

        Args:
            in_flight: returns the number of predictions in flight at a worker.
        """
        if not (usable := self._replicas.usable):
            return self.worker
        first = next(self._turns) % len(usable)
        return min(usable[first:] + usable[:first], key=in_flight)

    def run(self, call: Run, row: Operation) -> None:
        """Send an activity to the worker. Its replicas follow, if the operation concerns them.

        Raises:
            InvalidRequest: an argument cannot be encoded.
        """
        self.send(call)
        self._replicas.follow(call, row)

    def send(self, message: ToWorker) -> None:
        """Send a message to the worker.

        Raises:
            InvalidRequest: the message contains a value that cannot be encoded.
        """
        try:
            self.worker.send(message)
        except Unsendable as error:
            raise InvalidRequest(
                f"The request contains {error}; expected text without lone surrogates, integers of at most 64 bits, and "
                "at most a few hundred levels of nesting."
            ) from error

    def hold_reports(self, held: bool) -> None:
        """Make the worker and its successors hold metrics back, or send them again."""
        if held is self._reports_held:
            return
        self._reports_held = held
        if self._worker is not None:
            self._worker.send(HoldReports(held))

    def request_stop(self, hook: str) -> None:
        """Ask the worker to call a last hook and exit. From now on its exit is not a failure."""
        self._stopping = self._worker
        self._replicas.request_stop(hook)
        if self._worker is not None:
            self._worker.send(Exit(hook))

    @property
    def is_stopping(self) -> bool:
        """Whether the worker has been asked to end."""
        return self._worker is not None and self._worker is self._stopping

    async def wait_stopped(self, last_hook: Deadline, kill: Deadline) -> bool:
        """Wait until the workers that were asked to exit have done so; return False if one had to be killed.

        Args:
            last_hook: when a worker calls its last hook, even if its activity is still running.
            kill: when it is killed.
        """
        stopping = [worker for worker in (self._stopping, *self._replicas.stopping) if worker is not None]
        ended = all(await asyncio.gather(*(_wait_stopped(worker, last_hook, kill) for worker in stopping)))
        await self._replicas.clean()
        return ended

    def kill(self) -> None:
        """Kill the workers at once."""
        self._replicas.kill()
        if self._worker is not None:
            self._worker.kill()

    def on_message(self, worker: Worker, message: FromWorker) -> None:
        """Handle a message of a worker."""
        if worker is not self._worker:
            return
        if isinstance(message, Loaded):
            self.signature, self.documents = message.signature, message.documents
            self._set_loaded(None)
            self._listener.on_loaded(message.model, frozenset(message.hooks))
        elif isinstance(message, LoadFailed) and worker is not self._stopping:
            failure = message.failure
            kind: type[ModelLoadError] = getattr(tree, message.error)
            self._set_loaded(kind(failure.message, traceback=failure.traceback))
            self._listener.on_load_failed(failure)
        elif not isinstance(message, LoadFailed) and not self._replicas.holds(worker, message):
            self._listener.on_message(message)

    def on_exit(self, worker: Worker, failure: Failure) -> None:
        """Handle the end of a worker."""
        if worker is self._worker:
            # A worker that could not load the model exits by itself.
            could_not_load = self._loaded.done() and self._loaded.exception() is not None
            expected = worker is self._stopping or could_not_load
            if not expected:
                self._replicas.kill()
                self._set_loaded(WorkerDied(failure))
            self._listener.on_ended(failure, expected=expected)

    def _set_loaded(self, error: Exception | None) -> None:
        if self._loaded.done():
            return
        if error is None:
            self._loaded.set_result(None)
        else:
            self._loaded.set_exception(error)


async def _wait_stopped(worker: Worker, last_hook: Deadline, kill: Deadline) -> bool:
    if worker.exited or await _exits_within(worker, last_hook):
        return True
    worker.send(CallLastHook())
    if await _exits_within(worker, kill):
        return True
    worker.kill()
    await worker.wait_exited()
    return False


async def _exits_within(worker: Worker, deadline: Deadline) -> bool:
    try:
        async with asyncio.timeout(deadline.left()):
            await worker.wait_exited()
    except TimeoutError:
        return False
    return True


def _future() -> asyncio.Future[None]:
    """Return a future whose exception may remain unretrieved, since the status shows the failure too."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future
