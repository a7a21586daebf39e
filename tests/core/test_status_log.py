"""The status log: replay, gaps, conflation, limits, and many readers."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mistk_service.core.status_log import WOKEN_AT_ONCE, Missed, StatusEvent, StatusLog
from mistk_service.core.view import Status
from mistk_service.kinds.model.states import State
from tests.support.harness import TIMEOUT

pytestmark = pytest.mark.anyio

#: Long enough that a test notices if something waits for it that should not.
NEVER = 3600.0


class Source:
    """What is true, for a log to ask."""

    def __init__(self) -> None:
        self.state = State.STARTED
        self.payload: dict[str, Any] = {}
        self.asked = 0

    def __call__(self) -> Status:
        self.asked += 1
        return Status(self.state, reported=dict(self.payload))


def log_of(source: Source, **options: Any) -> StatusLog:
    def encode(status: Status, version: int) -> bytes:
        info = {"name": "Model", "kind": "ModelInstanceStatus", "id": "an-id", "resourceVersion": version}
        return json.dumps({"objectInfo": info, "state": status.state, "payload": status.reported}).encode()

    return StatusLog(source, encode, **{"conflation": NEVER, **options})


def publish(log: StatusLog, source: Source, times: int, state: State = State.TRAINING) -> None:
    """Publish so many changes."""
    source.state = state
    for _ in range(times):
        source.payload = {"n": source.payload.get("n", 0) + 1}
        log.publish()


async def take(watch: AsyncIterator[Any], count: int) -> list[Any]:
    """Return the next items of a watch."""
    items: list[Any] = []
    async with asyncio.timeout(TIMEOUT):
        while len(items) < count:
            items.append(await anext(watch))
    return items


async def versions(watch: AsyncIterator[Any], count: int) -> list[int]:
    """Return the versions of the next events of a watch, of which none was missed."""
    items = await take(watch, count)
    assert all(missed is None for _, missed in items)
    return [event.version for event, _ in items]


# --- writing -----------------------------------------------------------------------------------------------------------


async def test_the_first_status_is_added_and_the_others_are_modifications():
    source = Source()
    log = log_of(source)
    publish(log, source, 2)
    events = [event for event, _ in await take(log.watch(0), 3)]
    assert [(event.version, event.kind) for event in events] == [(1, "added"), (2, "modified"), (3, "modified")]


async def test_a_status_is_encoded_for_the_version_that_it_is_published_under():
    source = Source()
    source.payload = {"a": [1]}
    status = json.loads(log_of(source).latest().status)
    assert (status["objectInfo"]["resourceVersion"], status["state"], status["payload"]) == (1, "started", {"a": [1]})


async def test_touches_are_published_together_and_the_latest_wins():
    source = Source()
    log = log_of(source, conflation=0.01)
    watch = log.watch(1)
    for n in range(1000):
        source.payload = {"n": n}
        log.touch()
    ((event, _),) = await take(watch, 1)
    assert event.version == 2
    assert json.loads(event.status)["payload"] == {"n": 999}
    assert log.latest().version == 2


async def test_what_was_touched_is_seen_at_once_by_who_asks():
    source = Source()
    log = log_of(source)
    source.payload = {"n": 1}
    log.touch()
    assert json.loads(log.latest().status)["payload"] == {"n": 1}


async def test_to_ask_often_makes_no_versions():
    source = Source()
    log = log_of(source)
    for n in range(100):
        source.payload = {"n": n}
        log.touch()
        seen = log.latest()
        assert (seen.version, json.loads(seen.status)["payload"]) == (1, {"n": n})


async def test_a_watch_from_what_was_seen_unpublished_gets_it_published():
    source = Source()
    log = log_of(source, conflation=0.01)
    source.payload = {"n": 1}
    log.touch()
    seen = log.latest()
    ((event, _),) = await take(log.watch(seen.version), 1)
    assert json.loads(event.status)["payload"] == {"n": 1}


async def test_no_change_of_state_is_dropped_however_fast_they_come():
    source = Source()
    log = log_of(source)
    states = [State.READY, State.TRAINING, State.PAUSING, State.PAUSED] * 50
    for state in states:
        source.state = state
        log.touch()
        log.publish()
    seen = [event.state for event, _ in await take(log.watch(1), len(states))]
    assert seen == states


async def test_what_changed_and_changed_back_is_not_published():
    source = Source()
    log = log_of(source)
    source.state = State.PREDICTING
    log.touch()
    source.state = State.STARTED
    log.touch()
    assert log.latest().version == 1
    assert log.publish().version == 1


async def test_who_was_shown_what_then_changed_back_hears_of_it():
    source = Source()
    log = log_of(source)
    source.state = State.PREDICTING
    log.touch()
    seen = log.latest()
    assert (seen.version, seen.state) == (1, State.PREDICTING)
    source.state = State.STARTED
    log.touch()
    log.publish()
    ((event, _),) = await take(log.watch(seen.version), 1)
    assert event.state is State.STARTED


async def test_what_changed_back_before_anybody_asked_is_the_same_status_to_the_byte():
    source = Source()
    log = log_of(source)
    before = log.latest()
    log.touch()
    assert log.latest() is before


async def test_a_publication_leaves_no_timer_behind():
    source = Source()
    log = log_of(source, conflation=0.01)
    source.payload = {"n": 1}
    log.touch()
    log.publish()
    asked = source.asked
    watch = log.watch(log.latest().version, keepalive=0.05)
    assert await take(watch, 1) == [None]
    assert source.asked == asked


# --- reading -----------------------------------------------------------------------------------------------------------


async def test_a_reader_gets_everything_after_its_version_and_then_what_follows():
    source = Source()
    log = log_of(source)
    publish(log, source, 4)
    watch = log.watch(2)
    assert await versions(watch, 3) == [3, 4, 5]
    waiting = asyncio.ensure_future(versions(watch, 2))
    await asyncio.sleep(0)
    publish(log, source, 2)
    assert await waiting == [6, 7]


async def test_a_reader_without_a_version_begins_with_the_present_and_continues():
    source = Source()
    log = log_of(source, history=3)
    publish(log, source, 9)
    watch = log.watch()
    assert await versions(watch, 1) == [10]
    publish(log, source, 1)
    assert await versions(watch, 1) == [11]


async def test_a_reader_that_knows_the_latest_gets_only_what_follows():
    source = Source()
    log = log_of(source)
    watch = log.watch(1)
    waiting = asyncio.ensure_future(versions(watch, 1))
    await asyncio.sleep(0)
    assert not waiting.done()
    publish(log, source, 1)
    assert await waiting == [2]


async def test_a_reader_that_comes_too_late_learns_what_it_missed():
    source = Source()
    log = log_of(source, history=3)
    publish(log, source, 9)
    first, *others = await take(log.watch(2), 3)
    assert (first[0].version, first[1]) == (8, Missed(3, 7))
    assert [(event.version, missed) for event, missed in others] == [(9, None), (10, None)]


async def test_a_reader_that_falls_behind_learns_what_it_missed():
    source = Source()
    log = log_of(source, history=3)
    watch = log.watch(0)
    assert (await take(watch, 1))[0][0].version == 1
    publish(log, source, 9)
    event, missed = (await take(watch, 1))[0]
    assert (event.version, missed) == (8, Missed(2, 7))


async def test_a_version_of_the_future_belongs_to_an_earlier_life():
    source = Source()
    log = log_of(source)
    publish(log, source, 2)
    watch = log.watch(100)
    ((event, missed),) = await take(watch, 1)
    assert (event.version, missed) == (3, Missed(4, 100))
    publish(log, source, 1)
    assert await versions(watch, 1) == [4]


async def test_a_quiet_watch_gives_signs_of_life():
    log = log_of(Source())
    assert await take(log.watch(1, keepalive=0.001), 3) == [None, None, None]


async def test_a_watch_ends_with_the_state_terminated():
    source = Source()
    log = log_of(source)
    publish(log, source, 1)
    publish(log, source, 1, State.TERMINATED)
    assert [item[0].version async for item in log.watch(0) if item] == [1, 2, 3]
    assert [item async for item in log.watch(3)] == [], "a reader who knows the end already"


async def test_what_changes_after_the_end_reaches_all_readers_or_none():
    source = Source()
    log = log_of(source)
    publish(log, source, 2, State.TERMINATED)
    assert [item[0].version async for item in log.watch(0) if item] == [1, 2]
    assert [item[0].version async for item in log.watch(2) if item] == [3], "who asks for it"


async def test_a_live_watch_ends_with_the_state_terminated():
    source = Source()
    log = log_of(source)

    async def read() -> list[str]:
        return [item[0].state async for item in log.watch(0) if item]

    reading = asyncio.ensure_future(read())
    await asyncio.sleep(0)
    publish(log, source, 1, State.TERMINATED)
    async with asyncio.timeout(TIMEOUT):
        assert await reading == [State.STARTED, State.TERMINATED]


async def test_readers_are_counted_while_they_read():
    log = log_of(Source())
    watches = [log.watch(0) for _ in range(3)]
    for watch in watches:
        await take(watch, 1)
    assert log.watchers == 3
    for watch in watches:
        await watch.aclose()
    assert log.watchers == 0


async def test_a_reader_that_is_cancelled_leaves_nothing_behind():
    log = log_of(Source())
    reading = asyncio.ensure_future(take(log.watch(1), 1))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await asyncio.sleep(0)
    assert log.watchers == 0


async def test_a_thousand_readers_share_one_encoding_of_each_event():
    source = Source()
    log = log_of(source)
    readers = [asyncio.ensure_future(take(log.watch(1), 5)) for _ in range(1000)]
    await asyncio.sleep(0)
    asked = source.asked
    publish(log, source, 5)
    results = await asyncio.gather(*readers)
    assert source.asked == asked + 5
    for index in range(5):
        assert len({id(result[index][0].status) for result in results}) == 1


# --- bounds ------------------------------------------------------------------------------------------------------------


async def test_many_readers_are_woken_a_few_at_a_time_so_that_others_have_their_turn():
    source = Source()
    log = log_of(source)
    served: list[int] = []

    async def read(number: int) -> None:
        await take(log.watch(1), 1)
        served.append(number)

    readers = [asyncio.create_task(read(number)) for number in range(10 * WOKEN_AT_ONCE)]
    await asyncio.sleep(0)
    assert log.watchers == len(readers)
    publish(log, source, 1)
    turns = [0]
    while len(served) < len(readers):
        await asyncio.sleep(0)
        turns.append(len(served))
    await asyncio.gather(*readers)
    assert served == list(range(len(readers)))
    assert max(after - before for before, after in itertools.pairwise(turns)) <= WOKEN_AT_ONCE


async def test_a_status_that_comes_while_readers_are_being_woken_reaches_them_all():
    source = Source()
    log = log_of(source)
    watches = [log.watch(1) for _ in range(3 * WOKEN_AT_ONCE)]
    reading = [asyncio.create_task(versions(watch, 2)) for watch in watches]
    await asyncio.sleep(0)
    assert log.watchers == len(watches)
    publish(log, source, 1)
    await asyncio.sleep(0)
    publish(log, source, 1)
    assert await asyncio.gather(*reading) == [[2, 3]] * len(watches)


async def test_the_history_is_bounded_in_events():
    source = Source()
    log = log_of(source, history=10)
    publish(log, source, 100)
    assert [event.version for event, _ in await take(log.watch(0), 10)] == list(range(92, 102))


async def test_the_history_is_bounded_in_bytes_and_always_holds_the_latest():
    source = Source()
    log = log_of(source, history_bytes=10_000)
    for n in range(20):
        source.payload = {"n": n, "filling": "x" * 3000}
        log.publish()
    kept: list[StatusEvent] = [event for event, _ in await take(log.watch(0), 3)]
    assert kept[-1] is log.latest()
    assert sum(len(event.status) for event in kept) <= 10_000
    source.payload = {"filling": "x" * 50_000}
    log.publish()
    assert [event.version for event, _ in await take(log.watch(0), 1)] == [log.latest().version]


@given(
    history=st.integers(1, 6),
    published=st.lists(st.integers(0, 8), max_size=8),
    after=st.integers(-1, 60) | st.none(),
)
async def test_a_reader_gets_every_version_once_or_learns_that_it_missed_it(
    history: int, published: list[int], after: int | None
):
    """Whatever is published between its readings, and whatever it knew before."""
    source = Source()
    log = log_of(source, history=history)
    publish(log, source, published[0] if published else 0)
    latest = log.latest().version
    watch = log.watch(after)
    accounted: list[int] = []
    for times in [*published[1:], 1]:
        publish(log, source, times)
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        if not waiting.done():
            publish(log, source, 1)
        item = await waiting
        assert item is not None
        event, missed = item
        if missed and missed.first <= event.version:
            accounted += range(missed.first, missed.last + 1)
        accounted.append(event.version)
    await watch.aclose()
    assert accounted == list(range(accounted[0], accounted[-1] + 1))
    if after is not None and 0 <= after <= latest:
        assert accounted[0] == after + 1
