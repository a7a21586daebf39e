"""The supervisor has one worker at a time, and ignores messages of earlier ones."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from mistk_service.deadline import Deadline
from mistk_service.errors import Failure, InvalidRequest, ModelModuleFailed, WorkerDied
from mistk_service.workers.host.socket_worker import SocketWorker
from mistk_service.workers.messages import CallLastHook, Done, Exit, FromWorker, Loaded, LoadFailed, Run
from mistk_service.workers.protocol import Worker, WorkerListener
from mistk_service.workers.supervisor import Supervisor

pytestmark = pytest.mark.anyio


class FakeWorker(SocketWorker):
    """A worker that does what the test does in its place.

    Attributes:
        told: what it was told, in order.
        killed: whether it was killed.
    """

    def __init__(self, listener: WorkerListener) -> None:
        super().__init__("fake:Fake", listener)
        self.told: list[Any] = []
        self.ends_when_told: type[Any] | None = None
        self.killed = False

    async def start(self) -> None:
        pass

    def send(self, message: Any) -> None:
        self.told.append(message)
        if self.ends_when_told is not None and isinstance(message, self.ends_when_told):
            self.end()

    def kill(self) -> None:
        self.killed = True
        self.end("killed")

    async def _open(self) -> None:
        raise AssertionError("it needs no other side")

    def say(self, message: FromWorker) -> None:
        """Say something to the service."""
        self._listener.on_message(self, message)

    def end(self, message: str = "ended") -> None:
        """End, for whatever reason."""
        self._has_exited(Failure("WorkerDied", message))


class Bench:
    """A supervisor with fake workers, and what it tells."""

    def __init__(self) -> None:
        self.workers: list[FakeWorker] = []
        self.told: list[tuple[Any, ...]] = []
        self.supervisor = Supervisor(self._make_worker, self)

    def _make_worker(self, listener: WorkerListener, slot: int | None) -> Worker:
        self.workers.append(FakeWorker(listener))
        return self.workers[-1]

    def on_loaded(self, model: str, hooks: frozenset[str]) -> None:
        self.told.append(("loaded", model, hooks))

    def on_load_failed(self, failure: Failure) -> None:
        self.told.append(("load failed", failure.message))

    def on_message(self, message: FromWorker) -> None:
        self.told.append(("message", message))

    def on_ended(self, failure: Failure, *, expected: bool) -> None:
        self.told.append(("ended", failure.message, expected))

    def on_replica_lost(self, worker: Worker, failure: Failure) -> None:
        self.told.append(("replica lost", worker, failure.message))

    def on_replicas(self, usable: int, count: int) -> None:
        self.told.append(("replicas", usable, count))


async def test_a_loaded_model_is_reported_with_its_hooks():
    bench = Bench()
    await bench.supervisor.start()
    waiting = asyncio.ensure_future(bench.supervisor.wait_loaded())
    bench.workers[0].say(Loaded("Model", ("do_train",)))
    await waiting
    assert bench.told == [("loaded", "Model", {"do_train"})]


async def test_a_model_that_cannot_be_loaded_is_reported_to_everybody():
    bench = Bench()
    await bench.supervisor.start()
    bench.workers[0].say(LoadFailed("ModelModuleFailed", Failure("ModelModuleFailed", "no", "a traceback")))
    for _ in range(2):
        with pytest.raises(ModelModuleFailed, match="no") as caught:
            await bench.supervisor.wait_loaded()
        assert caught.value.traceback == "a traceback"
    bench.workers[0].end()
    assert bench.told == [("load failed", "no"), ("ended", "ended", True)]  # its exit is no second failure


async def test_a_worker_that_dies_over_its_model_is_reported():
    bench = Bench()
    await bench.supervisor.start()
    bench.workers[0].end("died")
    with pytest.raises(WorkerDied, match="died"):
        await bench.supervisor.wait_loaded()
    assert bench.told == [("ended", "died", False)]


async def test_what_a_replaced_worker_still_says_nobody_hears():
    bench = Bench()
    await bench.supervisor.start()
    bench.supervisor.request_stop("do_reset")
    await bench.supervisor.start()
    bench.told.clear()
    old, new = bench.workers
    old.say(Done(1))
    old.say(Loaded("Old", ()))
    old.say(LoadFailed("ModelModuleFailed", Failure("ModelModuleFailed", "old")))
    old.end()
    assert bench.told == []
    new.say(Done(2))
    assert bench.told == [("message", Done(2))]


async def test_a_stopping_worker_may_still_report_how_its_activity_ended():
    bench = Bench()
    await bench.supervisor.start()
    bench.supervisor.request_stop("do_reset")
    bench.workers[0].say(Done(1))
    assert bench.told == [("message", Done(1))]


async def test_the_exit_of_a_stopping_worker_is_not_a_failure():
    bench = Bench()
    await bench.supervisor.start()
    waiting = asyncio.ensure_future(bench.supervisor.wait_loaded())
    bench.supervisor.request_stop("do_reset")
    assert bench.workers[0].told == [Exit("do_reset")]
    bench.workers[0].say(LoadFailed("ModelModuleFailed", Failure("ModelModuleFailed", "too late")))
    bench.workers[0].end()
    assert await bench.supervisor.wait_stopped(Deadline(), Deadline())
    assert bench.told == [("ended", "ended", True)]
    # Who waited for its model waits for that of the next one.
    assert not waiting.done()
    await bench.supervisor.start()
    bench.workers[1].say(Loaded("Model", ()))
    await waiting


async def test_a_stopping_worker_that_does_not_exit_is_killed_after_the_grace_period():
    bench = Bench()
    await bench.supervisor.start()
    bench.supervisor.request_stop("do_terminate")
    assert not await bench.supervisor.wait_stopped(Deadline(0.0), Deadline(0.001))
    assert bench.workers[0].told == [Exit("do_terminate"), CallLastHook()]
    assert bench.workers[0].killed


async def test_a_stopping_worker_that_exits_after_its_last_hook_is_not_killed():
    bench = Bench()
    await bench.supervisor.start()
    worker = bench.workers[0]
    bench.supervisor.request_stop("do_terminate")
    worker.ends_when_told = CallLastHook
    assert await bench.supervisor.wait_stopped(Deadline(0.0), Deadline())
    assert not worker.killed


@pytest.mark.parametrize("started", [False, True])
async def test_where_no_worker_lives_there_is_nothing_to_wait_for(started: bool):
    bench = Bench()
    if started:
        await bench.supervisor.start()
        bench.workers[0].end()
    bench.supervisor.request_stop("do_terminate")
    assert await bench.supervisor.wait_stopped(Deadline(), Deadline())
    bench.supervisor.kill()


async def test_what_cannot_be_sent_is_a_fault_of_the_request():
    bench = Bench()
    await bench.supervisor.start()
    worker = cast(Any, bench.workers[0])
    worker.send = lambda message: SocketWorker.send(worker, message)
    with pytest.raises(InvalidRequest, match="The request contains text that is not valid Unicode"):
        bench.supervisor.send(Run(1, "do_train", ("\ud800",)))
