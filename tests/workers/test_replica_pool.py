"""Property tests of replicas: a prediction never goes to a worker without the current model and properties."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from mistk_service.deadline import Deadline
from mistk_service.errors import Failure
from mistk_service.kinds.model import MODEL
from mistk_service.kinds.predictions import Signature
from mistk_service.workers.messages import Done, FromWorker, Loaded, Refused, Run
from mistk_service.workers.protocol import Worker, WorkerListener
from mistk_service.workers.supervisor import Supervisor
from tests.support.examples import examples
from tests.workers.test_supervisor import FakeWorker

REPLICAS = 2

#: Saved models, by the folders that they were saved to.
Saved = dict[str, str]


class FakeModel(FakeWorker):
    """A worker whose model is a name, and whose properties are a list; it takes its messages one by one."""

    def __init__(self, listener: WorkerListener, saved: Saved) -> None:
        super().__init__(listener)
        self._saved = saved
        self.queue: deque[Run | None] = deque([None])  # None: it loads its class
        self.model, self.props = "", ""

    @property
    def has(self) -> tuple[str, str]:
        """What it predicts with."""
        return self.model, self.props

    def send(self, message: Any) -> None:
        if isinstance(message, Run):
            self.queue.append(message)

    def step(self, *, refuse: bool = False) -> None:
        """Do the next thing, and say so."""
        call = self.queue.popleft()
        if call is None:
            self.say(Loaded("Fake", ("do_stream_predict",), Signature(copied_after_training=True)))
        elif refuse:
            self.say(Refused(call.id, "no"))
        else:
            getattr(self, call.hook)(*call.arguments)
            self.say(Done(call.id))

    def do_build_model(self, path: str) -> None:
        self.model = self._saved.get(path, path)

    def do_update_stream_properties(self, props: str) -> None:
        self.props += props

    def do_train(self) -> None:
        self.model += "+"

    def do_save_model(self, path: str) -> None:
        self._saved[path] = self.model


class Pool(RuleBasedStateMachine):
    """A supervisor with replicas, and what predictions have to be made with."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.saved: Saved = {}
        self.workers: list[FakeModel] = []
        self.numbers = iter(range(1, 1_000_000))
        #: What predictions may be made with: what the last activity left, and during one also what it leads to.
        self.published = ("", "")
        self.running: int | None = None
        self.is_training = False
        self.usable = 0
        self.runner.run(self.start())

    async def start(self) -> None:
        self.supervisor = Supervisor(self.make_worker, self)
        await self.supervisor.start()
        self.main.step()
        await asyncio.sleep(0)

    async def do(self, work: Any, **arguments: Any) -> None:
        """Do something where there is an event loop, and let new workers start."""
        work(**arguments)
        await asyncio.sleep(0)

    def make_worker(self, listener: WorkerListener, slot: int | None) -> Worker:
        self.workers.append(FakeModel(listener, self.saved))
        return self.workers[-1]

    @property
    def main(self) -> FakeModel:
        return self.workers[0]

    # --- what the supervisor tells ----------------------------------------------------------------------------------

    def on_loaded(self, model: str, hooks: frozenset[str]) -> None:
        self.supervisor.start_replicas(REPLICAS)

    def on_load_failed(self, failure: Failure) -> None: ...

    def on_message(self, message: FromWorker) -> None:
        if isinstance(message, Done | Refused):
            assert message.id == self.running, "an end is told once, and only of an activity"
            self.running, self.published, self.is_training = None, self.main.has, False

    def on_ended(self, failure: Failure, *, expected: bool) -> None: ...

    def on_replica_lost(self, worker: Worker, failure: Failure) -> None: ...

    def on_replicas(self, usable: int, count: int) -> None:
        self.usable = usable

    # --- what happens -----------------------------------------------------------------------------------------------

    @precondition(lambda self: self.running is None)
    @rule(operation=st.sampled_from(["buildModel", "updateStreamProperties", "train"]))
    def begin(self, operation: str) -> None:
        row = MODEL.operations[operation]
        self.running, self.is_training = next(self.numbers), operation == "train"
        arguments = {"train": ()}.get(operation, (f"{operation[0]}{self.running}",))
        self.runner.run(self.do(self.supervisor.run, call=Run(self.running, row.hook, arguments), row=row))

    @precondition(lambda self: self.main.queue)
    @rule(refuse=st.booleans())
    def worker(self, refuse: bool) -> None:
        """The worker does the next thing, or refuses it."""
        self.runner.run(self.do(self.main.step, refuse=refuse))

    @rule(which=st.integers(1, 100))
    def replica(self, which: int) -> None:
        """A replica does the next thing."""
        waiting = [worker for worker in self.workers[1:] if worker.queue and not worker.exited]
        if waiting:
            self.runner.run(self.do(waiting[which % len(waiting)].step))

    @rule()
    def rest(self) -> None:
        """Everything is done that there is to do."""
        while waiting := [worker for worker in self.workers if worker.queue and not worker.exited]:
            self.runner.run(self.do(waiting[0].step))

    @rule(which=st.integers(1, 100))
    def death(self, which: int) -> None:
        alive = [worker for worker in self.workers[1:] if not worker.exited]
        if alive and which > 60:
            self.runner.run(self.do(alive[which % len(alive)].end))

    @invariant()
    def a_prediction_is_made_with_what_is_published(self) -> None:
        for _ in range(REPLICAS + 1):
            worker = self.supervisor.for_prediction(lambda _: 0)
            assert isinstance(worker, FakeModel)
            assert not worker.exited
            if worker is not self.main:
                assert not worker.queue, "it has to do something before it predicts"
            if worker is not self.main or not self.main.queue:
                new = self.main.has if self.running is not None and not self.is_training else self.published
                assert worker.has in (self.published, new)

    @invariant()
    def what_is_told_is_who_predicts(self) -> None:
        if self.usable == 0:
            assert self.supervisor.for_prediction(lambda _: 0) is self.main

    async def end(self) -> None:
        self.supervisor.request_stop("do_reset")
        await self.supervisor.wait_stopped(Deadline(0), Deadline(0))

    def teardown(self) -> None:
        self.runner.run(self.end())
        self.runner.close()


@pytest.mark.hypothesis
def test_a_prediction_goes_only_to_who_has_what_it_is_to_be_made_with():
    run_state_machine_as_test(
        Pool,
        settings=settings(
            max_examples=examples(80),
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
