"""The deadlines of the stages of a graceful shutdown."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import pytest

from mistk_service.core.shutdown import Shutdown
from tests.test_deadline import Clock


def test_nothing_has_to_end_before_the_shutdown_begins() -> None:
    shutdown = Shutdown(10.0, clock=Clock())
    assert {shutdown.end.left(), shutdown.process.left(), shutdown.threads.left()} == {math.inf}


def test_the_stages_divide_the_grace_period() -> None:
    clock, began = Clock(), []
    shutdown = Shutdown(10.0, clock=clock, on_begin=lambda: began.append(clock.now))
    shutdown.begin()
    last_hook, kill = shutdown.stop_deadlines()
    assert (last_hook.left(), kill.left(), shutdown.worker_grace) == (4.0, 8.0, 8.0)
    clock.now += 8.0
    assert shutdown.requests().left() == pytest.approx(1.0)
    clock.now += 1.0
    assert shutdown.delivery().left() == pytest.approx(0.675)
    assert shutdown.threads.left() == pytest.approx(0.9)
    assert shutdown.process.left() == pytest.approx(0.95)
    assert shutdown.end.left() == pytest.approx(1.0)
    shutdown.begin()
    assert began == [100.0]


def test_a_stage_gets_what_those_before_it_have_left() -> None:
    shutdown = Shutdown(100.0, clock=Clock())
    shutdown.begin()
    assert shutdown.requests().left() == pytest.approx(10.0)
    assert shutdown.delivery().left() == pytest.approx(98.9)


@pytest.mark.parametrize("grace", [0.1, 2.0, 10.0, 1000.0])
def test_requests_and_tracking_have_time_though_the_worker_takes_all_of_its_own(grace: float) -> None:
    clock = Clock()
    shutdown = Shutdown(grace, clock=clock)
    shutdown.begin()
    for stage in (
        lambda: shutdown.stop_deadlines()[1],
        shutdown.requests,
        shutdown.delivery,
        lambda: shutdown.threads,
    ):
        left = stage().left()
        assert left > 0.0
        clock.now += left
    assert 0.0 < shutdown.process.left() < shutdown.end.left()


def test_a_second_signal_leaves_half_a_second_for_all_that_is_not_over() -> None:
    shutdown = Shutdown(1000.0, clock=Clock())
    shutdown.begin()
    kill, requests, delivery = shutdown.stop_deadlines()[1], shutdown.requests(), shutdown.delivery()
    shutdown.cut_short()
    assert kill.left() == 0.5
    assert requests.left() == 0.0
    assert delivery.left() == 0.0
    assert shutdown.threads.left() == pytest.approx(0.4)
    assert shutdown.end.left() == 0.5


def test_a_reset_gives_the_worker_as_long_as_a_shutdown() -> None:
    last_hook, kill = Shutdown(10.0, clock=Clock()).stop_deadlines()
    assert (last_hook.left(), kill.left()) == (4.0, 8.0)


def test_executors_are_shut_down_and_not_waited_for() -> None:
    shutdown = Shutdown()
    with ThreadPoolExecutor(1) as executor:
        shutdown.register(executor)
        shutdown.shut_down_executors()
        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.submit(int)
