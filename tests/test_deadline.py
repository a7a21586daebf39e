"""Deadlines can be brought forward and are passed down; the clock is a fake."""

from __future__ import annotations

import asyncio
import math
import threading

import pytest

from mistk_service.deadline import Deadline


class Clock:
    """A clock that stands still unless it is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_deadline_comes_closer_and_passes() -> None:
    clock = Clock()
    deadline = Deadline(10.0, clock)
    clock.now += 4.0
    assert deadline.left() == 6.0
    clock.now += 7.0
    assert deadline.left() == 0.0


def test_a_deadline_can_be_brought_forward_but_not_put_off() -> None:
    deadline = Deadline(clock=Clock())
    assert deadline.left() == math.inf
    deadline.bring_forward(5.0)
    deadline.bring_forward(9.0)
    assert deadline.left() == 5.0


def test_an_inner_deadline_keeps_its_distance_and_follows_the_outer_one() -> None:
    clock = Clock()
    outer = Deadline(10.0, clock)
    soon, before = outer.within(4.0), outer.within(reserve=1.0)
    assert (soon.left(), before.left(), outer.within(20.0).left()) == (4.0, 9.0, 10.0)
    outer.bring_forward(2.0)
    assert (soon.left(), before.left()) == (2.0, 1.0)
    clock.now += 1.5
    assert (soon.left(), before.left()) == (0.5, 0.0)


def test_a_thread_that_has_ended_is_joined_though_the_deadline_has_passed() -> None:
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    deadline = Deadline(0.0, Clock())
    assert deadline.join(thread)
    assert deadline.overdue == []


def test_a_thread_that_does_not_end_in_time_is_overdue_until_it_ends() -> None:
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    outer = Deadline(clock=Clock())
    assert not outer.within(0.0).join(thread)
    assert outer.overdue == [thread]
    release.set()
    assert outer.join(thread)
    assert outer.overdue == []


@pytest.mark.anyio
async def test_a_wait_for_an_event_ends_when_the_deadline_is_brought_forward() -> None:
    deadline, event = Deadline(clock=Clock()), asyncio.Event()
    waiting = asyncio.create_task(deadline.wait(event))
    await asyncio.sleep(0)
    deadline.bring_forward(0.0)
    assert not await waiting
    event.set()
    assert await deadline.wait(event)
