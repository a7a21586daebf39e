"""Replicas: further workers with the same model, which only predict.

A replica repeats what the instance's own worker has done to prepare the model: it is not forked, since threads, GPUs and
OpenMP do not survive that. A call that the worker has done goes to one replica after the other, while the others predict; its
end is reported when all have followed. After a training, the replicas no longer have the model. They follow from a copy that
the worker saves, if the class declares that, or with the next model that is built. Until then, the worker predicts.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import msgspec

from mistk_service.errors import Failure, WorkerDied
from mistk_service.kinds.kind import Operation
from mistk_service.workers.messages import (
    ActivityEnd,
    Done,
    Exit,
    Failed,
    FromWorker,
    Loaded,
    LoadFailed,
    PartPredicted,
    PredictionEnd,
    Refused,
    Run,
    Unsupported,
)
from mistk_service.workers.protocol import Worker, WorkerFactory

logger = logging.getLogger(__name__)

#: How many replicas in succession may end before they have the model. After that, no more are started.
_ATTEMPTS = 3

#: Tuples, which ``isinstance`` takes faster than unions.
_ANSWERS = (*get_args(PredictionEnd), PartPredicted)
_ENDS = get_args(ActivityEnd)


@dataclass(eq=False)
class _Replica:
    worker: Worker
    #: Its number among the replicas, which its replacement takes over.
    slot: int
    loaded: bool = False
    #: The calls that it has yet to finish.
    unfinished: set[int] = field(default_factory=set)
    #: Whether it has ever finished all of them.
    settled: bool = False

    def give(self, call: Run) -> None:
        self.unfinished.add(call.id)
        self.worker.send(call)


def _overrides(call: Run, earlier: Run) -> bool:
    """Return whether a call sets everything that an earlier one of the same hook has set."""
    if call.hook != earlier.hook or len(call.arguments) != len(earlier.arguments):
        return False
    return all(
        before.keys() <= now.keys() if isinstance(now, Mapping) and isinstance(before, Mapping) else before == now
        for now, before in zip(call.arguments, earlier.arguments, strict=True)
    )


class Replicas:
    """The replicas of one instance.

    Args:
        make_worker: makes a worker that reports to the given listener.
        pass_on: receives every message about a prediction, and each message that :meth:`holds` has held back.
        on_lost: receives a replica that has ended unexpectedly, and how.
        on_change: receives the number of workers that could answer predictions now, and the number of replicas,
            when one of them has changed.
    """

    def __init__(
        self,
        make_worker: WorkerFactory,
        pass_on: Callable[[FromWorker], None],
        on_lost: Callable[[Worker, Failure], None],
        on_change: Callable[[int, int], None],
    ) -> None:
        self._make_worker = make_worker
        self._pass_on = pass_on
        self._on_lost = on_lost
        self._on_change = on_change
        #: The number of replicas; None until it is known.
        self._count: int | None = None
        self._copied = False
        self._known = 0, 0
        self._replicas: dict[Worker, _Replica] = {}
        #: The workers that can answer the next prediction; none if the instance's own worker has to.
        self.usable: tuple[Worker, ...] = ()
        #: The replicas that have been asked to end.
        self.stopping: list[Worker] = []
        self._killed: set[Worker] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._attempts = 0
        #: The ids of the replicas' own calls, which no activity has.
        self._ids = itertools.count(-1, -1)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._forget()

    def _forget(self) -> None:
        #: The calls that prepare a replica, in order, and the numbers of those that build the model.
        self._calls: list[Run] = []
        self._builds: set[int] = set()
        #: The call that the worker is doing, if the replicas are to follow.
        self._pending: tuple[Run, Operation] | None = None
        #: Whether the replicas lack the current model.
        self._outdated = True
        #: The worker's present call that saves a copy, and the hook that builds the model from it.
        self._copy: tuple[Run, str] | None = None
        #: The replicas that are out of date, the one that is being updated, and the worker, which answers in the meantime.
        self._turns: deque[_Replica] = deque()
        self._turn: _Replica | None = None
        self._helper: Worker | None = None
        #: The final message of the call, to be passed on when all replicas have repeated it.
        self._held: FromWorker | None = None

    def expect(self) -> None:
        """Prepare for a new instance, whose calls count from now on."""
        self._forget()
        self._killed.clear()
        self._attempts = 0
        self._count = None

    def start(self, count: int, *, copied: bool) -> None:
        """Start the replicas of an instance that has loaded its class, in the background.

        Args:
            count: the number of replicas.
            copied: whether they follow a training from a copy of the model.
        """
        self._count, self._copied = count, copied
        for slot in range(count):
            self._add(slot)
        self._update()

    # --- following the worker -------------------------------------------------------------------------------------

    def follow(self, call: Run, row: Operation) -> None:
        """Record a call that was sent to the worker, for the replicas to repeat when it is done."""
        if row.replicas is not None and self._count != 0:
            self._pending = msgspec.structs.replace(call, run=None), row

    def holds(self, worker: Worker, message: FromWorker) -> bool:
        """Let the replicas repeat a call that the worker has finished.

        Args:
            worker: the instance's own worker.
            message: any message of it.

        Returns:
            Whether the message is not to be passed on now.
        """
        if not isinstance(message, _ENDS):
            return False
        if self._copy is not None and message.id == self._copy[0].id:
            self._on_copied(worker, message)
            return True
        if self._pending is None or message.id != self._pending[0].id:
            return False
        (call, row), self._pending = self._pending, None
        if row.replicas == "changes":
            if not isinstance(message, Refused):
                self._outdated = True
                if self._copied and row.copied_by is not None and isinstance(message, Done):
                    self._request_copy(worker, *row.copied_by)
                self._update()
            return False
        return isinstance(message, Done) and self._propagate(worker, call, row.replicas == "builds", message)

    def _propagate(self, worker: Worker, call: Run, builds: bool, end: FromWorker | None) -> bool:
        """Give a call to the replicas: to one after the other if they predict. Return whether they do."""
        self._remember(call, builds)
        self._outdated = self._outdated and not builds
        for replica in self._replicas.values():
            if replica.worker in self.usable:
                self._turns.append(replica)
            else:
                replica.give(call)
        if not self._turns:
            return False
        self._helper, self._held = worker, end
        self._continue_propagation()
        return True

    def _remember(self, call: Run, builds: bool) -> None:
        """Add a call to those that prepare a replica. A build replaces earlier ones, and takes the position of the first.

        A later call replaces one that it fully overrides, such as earlier properties.
        """
        if builds:
            earlier = [each.id for each in self._calls if each.id in self._builds]
            self._calls = [
                msgspec.structs.replace(call, id=each.id) if each.id in self._builds else each
                for each in self._calls
                if each.id not in earlier[1:]
            ]
            if self._calls and self._calls[-1].id in self._builds:
                del self._calls[-1]
            self._builds = {*earlier[:1], call.id}
        built = max((place for place, each in enumerate(self._calls) if each.id in self._builds), default=-1) + 1
        later = [each for each in self._calls[built:] if not _overrides(call, each)]
        self._calls = [*self._calls[:built], *later, call]

    def _continue_propagation(self) -> None:
        self._turn = None
        while self._turns and self._turn is None:
            replica = self._turns.popleft()
            if replica.worker in self._replicas:
                self._turn = replica
                replica.give(self._calls[-1])
        held = self._held
        if self._turn is None:
            self._helper = self._held = None
        self._update()
        if self._turn is None and held is not None:
            self._pass_on(held)

    def _request_copy(self, worker: Worker, save: str, build: str) -> None:
        """Let the worker save the model for the replicas."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="mistk-replicas-")
        call = Run(next(self._ids), save, (tempfile.mkdtemp(dir=self._folder.name),))
        self._copy = call, build
        worker.send(call)

    def _on_copied(self, worker: Worker, message: FromWorker) -> None:
        assert self._copy is not None
        (call, build), self._copy = self._copy, None
        if isinstance(message, Done):
            self._propagate(worker, Run(next(self._ids), build, call.arguments), True, None)
        else:
            logger.error("The model was not saved for the replicas, so the worker predicts alone: %s", message)
        self._update()

    def _remove_old_copies(self) -> None:
        """Remove the copies that no replica will read."""
        needed = {argument for call in self._calls for argument in call.arguments if isinstance(argument, str)}
        if self._folder is not None and self._copy is None and not any(r.unfinished for r in self._replicas.values()):
            for path in Path(self._folder.name).iterdir():
                if str(path) not in needed:
                    # A model may have many files, and predictions continue in the meantime.
                    asyncio.get_running_loop().run_in_executor(None, shutil.rmtree, path, True)

    # --- their end ------------------------------------------------------------------------------------------------

    def request_stop(self, hook: str) -> None:
        """Ask the replicas to finish their predictions, call a last hook and end."""
        replicas, self._replicas = self._replicas, {}
        self.stopping = [*(worker for worker in self.stopping if not worker.exited), *replicas]
        self._forget()
        self._update()
        for worker in replicas:
            worker.send(Exit(hook))

    def kill(self) -> None:
        """Kill the replicas, those that are ending too."""
        replicas, self._replicas = self._replicas, {}
        self._killed.update(replicas)
        self._forget()
        self._update()
        for worker in (*replicas, *self.stopping):
            worker.kill()

    async def clean(self) -> None:
        """Remove the copies of the model, when the replicas have ended."""
        folder, self._folder = self._folder, None
        if folder is not None:
            await asyncio.to_thread(folder.cleanup)

    # --- messages of the replicas ---------------------------------------------------------------------------------

    def on_message(self, worker: Worker, message: FromWorker) -> None:
        """Handle a message of a replica. What it reports is dropped; the instance's own worker reports the same."""
        replica = self._replicas.get(worker)
        if isinstance(message, _ANSWERS) and (replica is not None or worker in self.stopping):
            self._pass_on(message)
        if replica is None:
            return
        if isinstance(message, Loaded):
            replica.loaded = True
            self._update()
        elif isinstance(message, Done):
            replica.unfinished.discard(message.id)
            self._remove_old_copies()
            self._update()
            if replica is self._turn:
                self._continue_propagation()
        elif isinstance(message, LoadFailed | Failed | Refused | Unsupported):
            # The instance's own worker has done the same call.
            logger.error("A replica could not repeat a call, and is replaced: %s", message)
            worker.kill()

    def on_exit(self, worker: Worker, failure: Failure) -> None:
        """Handle the exit of a replica: another one replaces it."""
        replica = self._replicas.pop(worker, None)
        if replica is None:
            return
        logger.error("A replica has exited: %s", failure)
        self._attempts = 0 if replica.settled else self._attempts + 1
        self._update()
        self._on_lost(worker, failure)
        if self._attempts < _ATTEMPTS:
            self._add(replica.slot)
        else:
            logger.error("%d replicas in succession exited before they had the model; no more are started.", _ATTEMPTS)
        if replica is self._turn:
            self._continue_propagation()

    def _update(self) -> None:
        """Update the set of workers that can answer predictions."""
        for replica in self._replicas.values():
            replica.settled = replica.settled or (replica.loaded and not replica.unfinished)
        workers = [] if self._outdated else [w for w, r in self._replicas.items() if r.loaded and not r.unfinished]
        self.usable = (*workers, self._helper) if self._helper is not None else tuple(workers)
        if self._known != (known := (len(self.usable), self._count or 0)):
            self._known = known
            self._on_change(*known)

    # --- their start ----------------------------------------------------------------------------------------------

    def _add(self, slot: int) -> None:
        worker = self._make_worker(self, slot)
        replica = self._replicas[worker] = _Replica(worker, slot)
        for call in self._calls:
            replica.give(call)
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
