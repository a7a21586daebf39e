"""The worker is measured during activities, and a failing measurement has no other effect."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from mistk_service.core.events import ActivityBegan, ActivityEnded, WorkerStarted
from mistk_service.deadline import Deadline
from mistk_service.recording.system_metrics import Sampling, SystemSample
from mistk_service.tracking.errors import SystemMetricsUnavailable
from tests.recording.conftest import Story
from tests.support.harness import TIMEOUT

BEGAN, ENDED = ActivityBegan("train"), ActivityEnded("train", "completed", 1.0)


class Machine:
    """Makes samplers, and keeps what comes of them."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.measured: list[int] = []
        self.closed: list[int] = []
        self.samples: list[dict[str, float]] = []
        self.notes: list[str] = []
        self.news = threading.Semaphore(0)
        self.sampling = Sampling(0.001, self._put, self._note, self._make)

    def _make(self, pid: int) -> Any:
        if self.error is not None:
            raise self.error
        self.measured.append(pid)
        machine = self

        class Sampler:
            def sample(self) -> dict[str, float]:
                return {"system/pid": float(pid)}

            def close(self) -> None:
                machine.closed.append(pid)

        return Sampler()

    def _put(self, sample: SystemSample) -> None:
        self.samples.append(dict(sample.values))
        self.news.release()

    def _note(self, note: str) -> None:
        self.notes.append(note)
        self.news.release()

    def wait(self, times: int = 1) -> None:
        for _ in range(times):
            assert self.news.acquire(timeout=TIMEOUT)


@pytest.fixture
def begin() -> Any:
    machines: list[Machine] = []

    def begin(error: Exception | None = None) -> Machine:
        machines.append(Machine(error))
        machines[-1].sampling.observe(WorkerStarted(0, 7))
        machines[-1].sampling.start()
        return machines[-1]

    yield begin
    for machine in machines:
        machine.sampling.close(Deadline())


def test_a_worker_is_measured_again_and_again_while_something_runs(begin: Callable[..., Machine]) -> None:
    machine = begin()
    assert machine.measured == []

    machine.sampling.observe(BEGAN)
    machine.wait(3)
    machine.sampling.observe(ENDED)
    machine.sampling.close(Deadline())

    assert machine.measured == [7]
    assert machine.samples[0] == {"system/pid": 7.0}
    assert machine.closed == [7]


def test_a_fresh_worker_is_measured_in_place_of_the_old_one(begin: Callable[..., Machine]) -> None:
    machine = begin()
    machine.sampling.observe(BEGAN)
    machine.wait()

    machine.sampling.observe(WorkerStarted(1, 8))

    while machine.samples[-1] != {"system/pid": 8.0}:
        machine.wait()
    assert machine.measured == [7, 8]
    assert machine.closed == [7]


@pytest.mark.parametrize("error", [SystemMetricsUnavailable("Install psutil."), ValueError("a mistake")])
def test_why_there_are_no_figures_is_reported(begin: Callable[..., Machine], error: Exception) -> None:
    machine = begin(error)

    machine.sampling.observe(BEGAN)

    machine.wait()
    assert str(error) in machine.notes[0]


def test_figures_belong_to_a_run_while_something_runs(story: Story) -> None:
    sample = SystemSample({"system/cpu_utilization_percentage": 50.0})
    story.initialize().tell(sample)
    assert story.runs == []

    story.began("train").tell(sample, sample).ended("train").tell(sample)

    assert story.points(story.run, "system/cpu_utilization_percentage") == [(50.0, 0), (50.0, 1)]
