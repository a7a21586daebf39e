"""The queue of the worker: order, fairness between small and large requests, and each task once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mistk_service.workers.child.task_queue import LARGE, TaskQueue
from mistk_service.workers.messages import Predict, Run
from tests.support.harness import records_of


def request(number: int, records: int = 1, *, length: int = 4, details: bool = False) -> Predict:
    return Predict(number, records_of({str(each): "x" * length for each in range(records)}), details)


def large(number: int) -> Predict:
    return request(number, LARGE + 1)


def queue(*tasks: Run | Predict, together: int = 1) -> TaskQueue:
    queue = TaskQueue(together)
    queue.add(tasks)
    return queue


def calls(queue: TaskQueue) -> list[list[int]]:
    """Take everything, and return the ids of each call."""
    taken = []
    while queue:
        task = queue.take()
        taken.append([task.id] if isinstance(task, Run) else [each.id for each in task])
    return taken


def test_small_requests_keep_their_order():
    assert calls(queue(*map(request, range(5)))) == [[0], [1], [2], [3], [4]]


def test_what_waits_goes_together_up_to_the_models_limit():
    assert calls(queue(*(request(n, 3) for n in range(5)), together=8)) == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize(
    ("sizes", "first_call"),
    [([3, 3], 2), ([3, 4], 1), ([3, 2, 1], 3), ([3, 3, 1], 2), ([7, 0], 1), ([0, 6], 2), ([0, 0, 0], 3)],
)
def test_a_call_never_has_more_records_than_the_model_takes(sizes: list[int], first_call: int):
    assert len(calls(queue(*(request(n, size) for n, size in enumerate(sizes)), together=6))[0]) == first_call


def test_a_request_beyond_the_models_limit_goes_alone_and_undivided():
    assert calls(queue(request(1), request(2, 20), request(3), together=8)) == [[1], [2], [3]]


def test_requests_for_details_go_alone():
    assert calls(queue(request(1), request(2, details=True), request(3), request(4), together=8)) == [[1], [2], [3, 4]]


def test_a_call_does_not_grow_beyond_some_megabytes_whatever_the_models_limit_of_records():
    tasks = [request(n, length=200 * 1024) for n in range(50)]
    batches = calls(queue(*tasks, together=64))
    assert [number for batch in batches for number in batch] == list(range(50))
    assert {len(batch) for batch in batches[:-1]} == {20}


def test_a_model_that_takes_many_records_at_once_gets_them():
    assert calls(queue(*(request(n) for n in range(10_000)), together=10_000)) == [list(range(10_000))]


def test_a_small_request_waits_for_no_more_than_the_large_one_before_it():
    assert calls(queue(large(1), large(2), large(3), request(4), request(5))) == [[1], [4], [5], [2], [3]]


def test_many_large_records_make_a_request_large_as_well_as_many_of_them():
    assert calls(queue(large(1), request(2, 2, length=LARGE * 1024), request(3))) == [[1], [3], [2]]


def test_small_requests_without_end_do_not_keep_a_large_one_from_being_called():
    waiting = queue(large(1), large(2))
    waiting.add(map(request, range(10, 14)))
    done = [waiting.take()]
    for number in range(100, 100 + 2 * LARGE):  # for each that is called another one comes
        waiting.add([request(number)])
        done.append(waiting.take())
    order = [batch[0].id for batch in done if isinstance(batch, list)]
    assert order[0] == 1
    assert order.index(2) == LARGE + 2, "after as many small records as the first large request had"


def test_an_activity_is_overtaken_by_nothing_and_overtakes_nothing():
    run = Run(3, "do_train")
    assert calls(queue(request(1), large(2), run, request(4), large(5))) == [[2], [1], [3], [5], [4]]


def test_at_the_gate_only_what_stands_first_may_be_taken():
    waiting = queue(request(1), Run(2, "do_save_model"))
    assert waiting.take_run() is None
    waiting.take()
    assert waiting.take_run() == Run(2, "do_save_model")
    assert waiting.take_run() is None


def test_what_was_withdrawn_is_not_called():
    waiting = queue(request(1), large(2), Run(3, "do_train"), request(4), request(5))
    assert [waiting.withdraw(number) for number in (2, 4, 2, 3, 99)] == [True, True, False, False, False]
    assert calls(waiting) == [[1], [3], [5]]


def test_where_everything_was_withdrawn_nothing_waits():
    waiting = queue(request(1))
    assert waiting.withdraw(1)
    assert not waiting


def test_an_activity_is_known_to_wait_until_it_is_taken():
    waiting = queue(request(1), Run(2, "do_train"))
    assert (waiting.holds_run(), waiting.holds_run(2), waiting.holds_run(1)) == (True, True, False)
    calls(waiting)
    assert not waiting.holds_run()


tasks = st.one_of(
    st.builds(lambda records, details: (records, details), st.integers(0, 3), st.booleans()),
    st.just((LARGE + 1, False)),
    st.none(),
)


@given(st.lists(tasks, max_size=30), st.integers(1, 8), st.sets(st.integers(0, 29)), st.data())
def test_everything_is_called_once_or_withdrawn(kinds, together, withdrawn, data):
    waiting = TaskQueue(together)
    left, called = set(), []
    for number, kind in enumerate(kinds):
        task = Run(number, "do_train") if kind is None else request(number, kind[0], details=kind[1])
        waiting.add([task])
        if number in withdrawn and waiting.withdraw(number):
            left.add(number)
        if waiting and data.draw(st.booleans()):
            taken = waiting.take()
            called += [taken.id] if isinstance(taken, Run) else [each.id for each in taken]
    called += [number for call in calls(waiting) for number in call]
    assert sorted(called) == sorted(set(range(len(kinds))) - left)
