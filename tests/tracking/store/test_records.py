"""Runs and their points, page by page and in batches of any length."""

import math
from functools import partial

import pytest

from mistk_service.tracking.errors import InvalidParameter
from mistk_service.tracking.values import (
    Dataset,
    DatasetInput,
    Metric,
    ModelInput,
    ModelOutput,
    Param,
    RunStatus,
    Tag,
)
from mistk_service.tracking.values.page import pages


@pytest.fixture
def runs(store, new_run):
    """Runs that have nothing, something, and everything."""
    full = new_run(
        "full",
        start=5,
        metrics={"m": 1.5, "nan": math.nan, "inf": math.inf},
        params={"p": "1", "q": ""},
        tags={"t": "ü"},
    )
    store.log_inputs(full, [DatasetInput(Dataset("d", "x", schema="{}"), (Tag("k", "v"),))], [ModelInput("m-1")])
    store.log_outputs(full, [ModelOutput("m-2", 3)])
    ended = new_run("ended", start=4, params={"p": "2"})
    store.update_run(ended, RunStatus.FAILED, 7)
    return [full, ended, new_run("empty", start=3)]


def test_a_search_finds_runs_as_they_are_read_one_by_one_page_by_page(store, experiment, runs):
    token, found = None, []
    for _ in runs:
        page = store.search_runs([experiment], max_results=1, page_token=token)
        assert repr(list(page)) == repr([store.get_run(run.info.run_id) for run in page])
        found += [run.info.run_id for run in page]
        token = page.next_page_token
    assert found == runs
    assert token is None


@pytest.mark.parametrize("max_results", [1, 3, 10])
def test_a_history_has_the_same_points_page_by_page(store, new_run, max_results):
    run_id = new_run()
    values = [1.0, math.nan, -math.inf, 0.1, 0.1, 5e-324, 1e308]
    store.log_batch(run_id, [Metric("m", value, place // 2, place % 3) for place, value in enumerate(values)])
    search = partial(store.get_metric_history, run_id, "m", max_results)
    found = [point for page in pages(search) for point in page]
    assert repr(found) == repr(list(store.get_metric_history(run_id, "m")))
    assert len(found) == len(values)


def test_a_page_may_be_asked_for_by_its_token_alone(store, new_run):
    run_id = new_run()
    store.log_batch(run_id, [Metric("m", float(step), 1, step) for step in range(5)])
    token = store.get_metric_history(run_id, "m", 2).next_page_token
    assert [point.step for point in store.get_metric_history(run_id, "m", page_token=token)] == [2, 3, 4]


@pytest.mark.parametrize("count", [1, 49, 50, 51, 100, 1000])
def test_of_a_batch_of_any_length_every_point_is_stored_once_and_the_latest_is_known(store, new_run, count):
    run_id = new_run()
    points = [Metric(f"m{number % 3}", number / 7, number // 2, number // 5) for number in range(count)]
    store.log_batch(run_id, points)
    store.log_batch(run_id, points[::-1])
    for key in {point.key for point in points}:
        own = {(point.timestamp, point.step, point.value) for point in points if point.key == key}
        assert [(p.timestamp, p.step, p.value) for p in store.get_metric_history(run_id, key)] == sorted(own)
        latest = next(point for point in store.get_run(run_id).data.metrics if point.key == key)
        assert (latest.step, latest.timestamp, latest.value) == max((s, t, v) for t, s, v in own)


def test_a_batch_is_refused_as_a_whole(store, new_run):
    run_id = new_run(params={"p": "1"})
    mixed = [Metric("m", 1.0, 1), Metric("m", 2.0, 2), *(Metric("m", float(step), 3, step) for step in range(200))]
    with pytest.raises(InvalidParameter, match="Changing param values"):
        store.log_batch(run_id, mixed, [Param("p", "2")])
    assert len(store.get_metric_history(run_id, "m")) == 0
    with pytest.raises(InvalidParameter, match=r"metrics\[1\]"):
        store.log_batch(run_id, [mixed[0], Metric("m", 1.0, -1)])
    store.log_batch(run_id, mixed)
    assert len(store.get_metric_history(run_id, "m")) == 202
