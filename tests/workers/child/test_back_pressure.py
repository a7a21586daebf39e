"""A model waits while the service cannot accept metrics, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mistk_service import AbstractModel
from mistk_service.core.events import MetricsReported
from mistk_service.workers import messages as m
from mistk_service.workers.child.context import METRICS_HELD
from tests.service.harness import wait_until
from tests.support.harness import Gate, of_type
from tests.support.runner_bench import RunnerBench

TIMEOUT = 20.0


class Trains(AbstractModel):
    """Trains with the function that the test gives it."""

    def __init__(self) -> None:
        self.train: Callable[[], Any] = lambda: None
        self.reported = 0

    def do_train(self) -> None:
        self.train()

    def do_save_model(self, path: str) -> None:
        pass

    def report(self, first: int, last: int) -> None:
        """Report a metric for every step."""
        for step in range(first, last):
            self.report_metrics({"m": step}, step, 0)
            self.reported += 1


class Bench(RunnerBench):
    """A runner whose model trains, and whose control thread sends what is due when the test says so."""

    def __init__(self) -> None:
        self.model = Trains()
        super().__init__(self.model)
        self.context = self.runner.context

    def until_it_waits(self, reported: int = METRICS_HELD - 1) -> None:
        """Wait until the model has reported so many values, and waits before it may report more."""
        wait_until(lambda: (self.context.waiting, self.model.reported) == (1, reported), every=0.01)

    def control(self) -> None:
        """Do what the control thread does at every turn."""
        if self.context.flush_due() is not None:
            self.context.flush(held_too=False)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.tell(m.Exit("do_terminate"))
    bench.rest()


def steps_of(*messages: m.FromWorker) -> list[int | None]:
    """Return the steps of all metrics, in order."""
    return [point[2] for message in messages if isinstance(message, m.Reported) for point in message.metrics]


def test_while_metrics_are_held_everything_else_is_sent(bench: Bench):
    bench.tell(m.HoldReports(True))
    bench.model.report(0, 3)
    bench.model.report_params({"a": 1})
    bench.model.update_status("here")
    bench.control()
    assert [bench.next(), bench.next()] == [m.Reported((), {"a": 1}), m.StatusUpdated("here")]
    bench.tell(m.HoldReports(False))
    bench.control()
    assert steps_of(bench.next()) == [0, 1, 2]


def test_metrics_that_are_held_keep_nobody_busy(bench: Bench):
    bench.tell(m.HoldReports(True))
    bench.model.report(0, 3)
    bench.control()
    assert bench.context.flush_due() is None
    bench.tell(m.HoldReports(False))
    assert bench.context.flush_due() is not None


def test_a_model_that_has_reported_very_many_waits_until_they_are_let_go(bench: Bench):
    bench.model.train = lambda: bench.model.report(0, METRICS_HELD + 10)
    bench.tell(m.HoldReports(True), m.Run(1, "do_train"))
    bench.until_it_waits()
    bench.control()
    assert bench.nothing_was_said()
    bench.tell(m.HoldReports(False))
    messages: list[Any] = []
    while not messages or messages[-1] != m.Done(1):
        messages.append(bench.next())
    assert steps_of(*messages) == list(range(METRICS_HELD + 10))


def test_a_model_that_waits_is_let_on_its_way_to_a_pause(bench: Bench):
    """Else a pause would last for as long as the disk is full, and to save the model would be impossible."""

    def train() -> None:
        bench.model.report(0, METRICS_HELD + 10)
        bench.model.pause_point()

    bench.model.train = train
    bench.tell(m.HoldReports(True), m.Run(1, "do_train"))
    bench.until_it_waits()
    bench.tell(m.Pause(1, "do_pause"))
    reported, paused = bench.next(), bench.next()
    assert steps_of(reported) == list(range(METRICS_HELD + 10))
    assert paused == m.Paused(1)
    bench.tell(m.Run(2, "do_save_model", ("p",)))
    assert bench.next() == m.Done(2)
    bench.tell(m.Resume(1, "do_resume_training"))
    assert bench.next() == m.Done(1)


def test_the_way_to_a_pause_has_an_end_too(bench: Bench):
    """A model without pause points, asked to pause, must not fill the memory."""
    bench.model.train = lambda: bench.model.report(0, 3 * METRICS_HELD)
    bench.tell(m.HoldReports(True), m.Run(1, "do_train"))
    bench.until_it_waits()
    bench.tell(m.Pause(1, "do_pause"))
    bench.until_it_waits(2 * METRICS_HELD - 1)
    bench.tell(m.HoldReports(False))
    messages: list[Any] = []
    while not messages or messages[-1] != m.Done(1):
        messages.append(bench.next())
    assert steps_of(*messages) == list(range(3 * METRICS_HELD))


def test_a_model_that_waits_is_let_go_at_the_end_and_nothing_is_lost(bench: Bench):
    def train() -> None:
        bench.model.report(0, 2 * METRICS_HELD + 10)
        bench.model.pause_point()

    bench.model.train = train
    bench.tell(m.HoldReports(True), m.Run(1, "do_train"))
    bench.until_it_waits()
    bench.tell(m.Exit("do_reset"))
    rest = bench.rest()
    assert rest[-1] == m.Stopped(1)
    assert steps_of(*rest) == list(range(2 * METRICS_HELD + 10))


def test_at_the_end_the_control_thread_sends_what_was_held(bench: Bench):
    """The activity need not report again before it is killed."""
    reported, standing = threading.Event(), threading.Event()
    bench.model.train = lambda: (bench.model.report(0, 3), reported.set(), standing.wait())
    bench.tell(m.HoldReports(True), m.Run(1, "do_train"))
    bench.model.update_status("reported")
    try:
        assert reported.wait(TIMEOUT)
        bench.control()
        assert bench.context.flush_due() is None
        bench.tell(m.Exit("do_reset"))
        bench.control()
        messages: list[Any] = []
        while len(steps_of(*messages)) < 3:
            messages.append(bench.next())
            bench.control()
    finally:
        standing.set()


def test_the_end_of_an_activity_comes_after_its_metrics_even_while_they_are_held(bench: Bench):
    bench.model.train = lambda: bench.model.report(0, 3)
    bench.tell(m.HoldReports(True), m.Run(1, "do_train"))
    assert [steps_of(bench.next()), bench.next()] == [[0, 1, 2], m.Done(1)]


def test_many_threads_that_wait_are_all_let_go_and_lose_nothing(bench: Bench):
    each, count = METRICS_HELD, 4

    def train() -> None:
        threads = [threading.Thread(target=bench.model.report, args=(0, each)) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    bench.model.train = train
    bench.tell(m.HoldReports(True), m.Run(1, "do_train"))
    wait_until(lambda: bench.context.waiting == count, every=0.01)
    bench.tell(m.HoldReports(False))
    messages: list[Any] = []
    while not messages or messages[-1] != m.Done(1):
        messages.append(bench.next())
    assert sorted(map(str, steps_of(*messages))) == sorted(map(str, list(range(each)) * count))


# --- over the whole container ------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_flood_that_is_held_and_let_go_arrives_whole_and_in_order(launch: Any, kind: str):
    instance = await (await launch("floods:FloodsMetrics", kind)).ready()
    instance.controller.hold_reports(True)
    await instance.call("train")
    await instance.heard()
    assert instance.state == "training"
    instance.controller.hold_reports(False)
    await instance.until(lambda status: "activity" not in status["payload"])
    points = [point for event in of_type(instance.events, MetricsReported) for point in event.points]
    assert [step for _, _, step, _ in points] == list(range(50_000))


@pytest.mark.anyio
async def test_a_fresh_worker_after_a_reset_is_held_too(launch: Any, kind: str, tmp_path: Path, gate: Gate):
    source = tmp_path / f"reports_and_waits_{kind}.py"
    source.write_text(
        "from mistk_service import AbstractModel\n"
        "class Model(AbstractModel):\n"
        "    def do_train(self):\n"
        "        self.report_metrics({'m': 1.0}, 1, 0)\n"
        "        self.update_status({'reported': True})\n"
        f"        with open({str(gate.path)!r}, 'rb', buffering=0) as gate:\n"
        "            gate.read(1)\n"
    )
    instance = await (await launch(f"{source}:Model", kind)).ready()
    instance.controller.hold_reports(True)
    await instance.call("reset")
    await instance.until("started")
    await instance.ready()
    await instance.call("train")
    await instance.until(lambda status: status["payload"].get("reported"))
    assert of_type(instance.events, MetricsReported) == []
    instance.controller.hold_reports(False)
    await instance.until(lambda status: "metrics" in status["payload"])
    gate.tell("x")
    await instance.until("ready")
