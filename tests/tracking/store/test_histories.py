"""Histories of metrics."""

import math

import pytest

from mistk_service.tracking.errors import InvalidPageToken, InvalidParameter
from mistk_service.tracking.values import Metric


@pytest.fixture
def run_id(store, experiment):
    return store.create_run(experiment).info.run_id


def test_points_come_by_timestamp_step_and_value(store, run_id):
    points = [Metric("m", v, t, s) for t in (1, 2) for s in (-1, 4) for v in (-0.5, 0.5)]
    store.log_batch(run_id, list(reversed(points)))
    store.log_metric(run_id, Metric("other", 1.0, 1))
    assert store.get_metric_history(run_id, "m").items == tuple(points)


def test_an_unknown_run_or_metric_has_no_points(store, run_id):
    assert len(store.get_metric_history("nobody", "m")) == 0
    assert len(store.get_metric_history(run_id, "m")) == 0


def test_pages_together_are_the_whole(store, run_id):
    values = [float("nan"), 0.0, 1.0, float("inf"), -float("inf")]
    store.log_batch(run_id, [Metric("m", v, t, s) for t in range(3) for s in range(3) for v in values])
    whole = store.get_metric_history(run_id, "m")
    assert (len(whole), whole.next_page_token) == (45, None)
    for size in (1, 3, 7, 50):
        found: list[Metric] = []
        token = None
        while token is not None or not found:
            page = store.get_metric_history(run_id, "m", size, token)
            assert 1 <= len(page) <= size
            found += page.items
            token = page.next_page_token
        assert list(map(repr, found)) == list(map(repr, whole.items))


def test_points_that_come_between_two_pages_shift_nothing(store, run_id):
    store.log_batch(run_id, [Metric("m", 1.0, t) for t in range(10, 20)])
    first = store.get_metric_history(run_id, "m", 4)
    store.log_batch(run_id, [Metric("m", 1.0, t) for t in range(10)])
    second = store.get_metric_history(run_id, "m", 4, first.next_page_token)
    assert [m.timestamp for m in (*first, *second)] == list(range(10, 18))


def test_a_token_of_another_history_is_refused(store, run_id):
    store.log_batch(run_id, [Metric(k, 1.0, t) for t in range(3) for k in ("m", "n")])
    token = store.get_metric_history(run_id, "m", 1).next_page_token
    for bad in (token[:-4], "%%%", "e30=", "W10="):
        with pytest.raises(InvalidPageToken):
            store.get_metric_history(run_id, "m", 1, bad)
    with pytest.raises(InvalidPageToken):
        store.get_metric_history(run_id, "n", 1, token)
    with pytest.raises(InvalidParameter):
        store.get_metric_history(run_id, "m", 0)


def test_histories_of_several_runs_come_together(store, experiment):
    runs = sorted(store.create_run(experiment).info.run_id for _ in range(3))
    for number, run_id in enumerate(runs):
        store.log_batch(run_id, [Metric("m", float(number), t) for t in range(3)])
    found = store.get_metric_history_bulk([runs[2], runs[0], "nobody"], "m")
    assert [(m.run_id, m.timestamp, m.value) for m in found] == [
        (runs[i], t, float(i)) for i in (0, 2) for t in range(3)
    ]
    assert len(store.get_metric_history_bulk(runs, "m", 5)) == 5


def test_several_runs_are_1_to_100(store):
    for runs in [[], ["r"] * 101]:
        for call in (store.get_metric_history_bulk, store.get_metric_history_interval):
            with pytest.raises(InvalidParameter):
                call(runs, "m")


def first_of_each_bucket(count, limit):
    """The places of a sample: the first rows of NTILE's buckets, and the last row in place of the last of those."""
    size, larger = divmod(count, limit)
    sizes = [size + 1] * larger + [size] * (limit - larger)
    firsts = [sum(sizes[:bucket]) for bucket in range(limit) if sizes[bucket]]
    return [*firsts[:-1], count - 1] if count > limit else list(range(count))


@pytest.mark.parametrize("count", [1, 2, 41, 100])
def test_a_sample_has_the_first_of_each_bucket_and_the_last_point(store, run_id, count):
    # In an order that is not that of the time.
    store.log_batch(run_id, [Metric("m", 0.0, 1000 - step, step) for step in range(count)])
    for limit in (1, 2, 3, 7, 40, 99, 100, 2500):
        steps = [m.step for m in store.get_metric_history_interval([run_id], "m", max_results=limit)]
        assert steps == first_of_each_bucket(count, limit)


def test_a_sample_has_its_runs_in_the_order_that_they_are_asked_for_in(store, experiment):
    runs = [store.create_run(experiment).info.run_id for _ in range(3)]
    for run_id in runs:
        store.log_batch(run_id, [Metric("m", 0.0, 1, step) for step in range(5)])
    for asked in (runs, runs[::-1]):
        found = store.get_metric_history_interval([*asked[:2], "unknown", asked[2]], "m", max_results=2)
        assert [(m.run_id, m.step) for m in found] == [(run_id, step) for run_id in asked for step in (0, 4)]


def test_a_sample_keeps_to_its_steps(store, run_id):
    store.log_batch(run_id, [Metric("m", math.nan, 1, step) for step in range(10)])
    found = store.get_metric_history_interval([run_id], "m", 3, 5)
    assert [m.step for m in found] == [3, 4, 5]
    assert all(math.isnan(m.value) and m.run_id == run_id for m in found)


def test_bounds_come_in_pairs_and_in_order(store, run_id):
    for bounds in [{"start_step": 1}, {"end_step": 1}, {"start_step": 2, "end_step": 1}]:
        with pytest.raises(InvalidParameter):
            store.get_metric_history_interval([run_id], "m", **bounds)
