"""Replicas: further workers with the same model, which only predict.

A replica repeats the calls that prepare the model for predictions. Once the model has been trained, a replica no longer has
it, and predictions go to the worker that trained until the instance is reset.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from mistk_service.errors import Failure, WorkerDied
from mistk_service.workers.messages import (
    Done,
    Exit,
    Failed,
    FromWorker,
    Loaded,
    LoadFailed,
    PartPredicted,
    Predicted,
    PredictionEnded,
    PredictionFailed,
    PredictionForgotten,
    PredictionRefused,
    Refused,
    Run,
    Unsupported,
)
from mistk_service.workers.protocol import Worker, WorkerListener

logger = logging.getLogger(__name__)

_Answers = (
    Predicted,
    PartPredicted,
    PredictionEnded,
    PredictionFailed,
    PredictionForgotten,
    PredictionRefused,
)


@dataclass(eq=False)
class _Replica:
    worker: Worker
    loaded: bool = False
    #: The calls that it has yet to finish.
    unfinished: set[int] = field(default_factory=set)
    #: Whether a call failed, so that its model is not that of the others.
    broken: bool = False


class Replicas:
    """The replicas of one instance.

    Args:
        make_worker: makes a worker that reports to the given listener.
        count: the number of replicas.
        on_answer: receives every message about a prediction.
        on_lost: receives a replica that has ended by itself, and how.
    """

    def __init__(
        self,
        make_worker: Callable[[WorkerListener], Worker],
        count: int,
        on_answer: Callable[[FromWorker], None],
        on_lost: Callable[[Worker, Failure], None],
    ) -> None:
        self._make_worker = make_worker
        self._count = count
        self._on_answer = on_answer
        self._on_lost = on_lost
        self._replicas: dict[Worker, _Replica] = {}
        #: The calls to repeat, in order.
        self._calls: list[Run] = []
        self._outdated = False
        #: The replicas that have been asked to end.
        self.leaving: list[Worker] = []
        self._killed: set[Worker] = set()
        self._starting: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start the replicas of a new instance, in the background."""
        self._calls.clear()
        self._killed.clear()
        self._outdated = False
        for _ in range(self._count):
            self._add()

    def repeat(self, call: Run) -> None:
        """Let every replica repeat a call that the instance's own worker has been sent, outside of its run."""
        if not self._count or self._outdated:
            return
        call = msgspec.structs.replace(call, run=None)
        self._calls.append(call)
        for replica in self._replicas.values():
            replica.unfinished.add(call.id)
            replica.worker.send(call)

    def outdate(self) -> None:
        """Use the replicas no more, since the model is about to change in a way that they cannot repeat."""
        self._outdated = True
        self._calls.clear()

    def usable(self) -> list[Worker]:
        """Return the workers of the replicas that have the present model."""
        if self._outdated:
            return []
        return [
            replica.worker
            for replica in self._replicas.values()
            if replica.loaded and not replica.unfinished and not replica.broken
        ]

    def dismiss(self, hook: str) -> None:
        """Ask the replicas to finish their predictions, call a last hook and end."""
        replicas, self._replicas = self._replicas, {}
        self.leaving = [*(worker for worker in self.leaving if not worker.exited), *replicas]
        for worker in replicas:
            worker.send(Exit(hook))

    def kill(self) -> None:
        """Kill the replicas, those that are ending too."""
        replicas, self._replicas = self._replicas, {}
        self._killed.update(replicas)
        for worker in (*replicas, *self.leaving):
            worker.kill()

    def on_message(self, worker: Worker, message: FromWorker) -> None:
        """Handle a message of a replica. What it reports is dropped; the instance's own worker reports the same."""
        replica = self._replicas.get(worker)
        if isinstance(message, _Answers) and (replica is not None or worker in self.leaving):
            self._on_answer(message)
        if replica is None:
            return
        if isinstance(message, Loaded):
            replica.loaded = True
        elif isinstance(message, Done | Unsupported | Refused):
            # The instance's own worker refuses what a replica refuses.
            replica.unfinished.discard(message.id)
        elif isinstance(message, Failed | LoadFailed):
            logger.warning("A replica cannot be used: %s", message.failure)
            replica.broken = True

    def on_exit(self, worker: Worker, failure: Failure) -> None:
        """Handle the end of a replica. One that had the model is replaced."""
        replica = self._replicas.pop(worker, None)
        if replica is None:
            return
        logger.error("A replica has ended: %s", failure)
        self._on_lost(worker, failure)
        if replica.loaded and not replica.unfinished and not replica.broken and not self._outdated:
            self._add()

    def _add(self) -> None:
        worker = self._make_worker(self)
        replica = self._replicas[worker] = _Replica(worker)
        for call in self._calls:
            replica.unfinished.add(call.id)
            worker.send(call)
        task = asyncio.get_running_loop().create_task(self._start(worker))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _start(self, worker: Worker) -> None:
        try:
            await worker.start()
        except WorkerDied:
            return  # it has ended, and the listener has been notified
        if worker in self._killed:  # while it started, so that it could not end yet
            worker.kill()
