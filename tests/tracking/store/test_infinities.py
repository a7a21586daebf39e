"""Infinities stay infinities in every result of a store."""

import math
import sys

import httpx
import pytest

from mistk_service.tracking import open_store
from mistk_service.tracking.values import Metric

INF = math.inf


@pytest.fixture
def run_id(store, experiment):
    """A run whose metric went to either infinity, by way of the largest numbers that are none."""
    run_id = store.create_run(experiment, run_name="a run").info.run_id
    values = [1.0, INF, 1.7e308, -INF, -1.7e308, INF]
    store.log_batch(run_id, [Metric("m", value, 1, step) for step, value in enumerate(values)])
    return run_id


def test_in_a_run_and_in_what_a_search_finds(store, experiment, run_id):
    assert [m.value for m in store.get_run(run_id).data.metrics] == [INF]
    (found,) = store.search_runs([experiment], "metrics.m > 1.7e308").items
    assert found.data.metrics == store.get_run(run_id).data.metrics
    assert store.search_runs([experiment], "metrics.m < 1.7e308").items == ()


def test_in_every_form_of_a_history(store, run_id):
    values = [1.0, INF, 1.7e308, -INF, -1.7e308, INF]
    assert [m.value for m in store.get_metric_history(run_id, "m").items] == values
    assert [m.value for m in store.get_metric_history_bulk([run_id], "m")] == values
    assert [m.value for m in store.get_metric_history_interval([run_id], "m")] == values


def test_in_pages_that_break_off_at_one(store, run_id):
    store.log_batch(run_id, [Metric("n", value, 7, 7) for value in (INF, -INF, 0.0, 1.7e308)])
    values, token = [], None
    while True:
        page = store.get_metric_history(run_id, "n", max_results=1, page_token=token)
        values += [m.value for m in page.items]
        token = page.next_page_token
        if token is None:
            break
    assert values == [-INF, 0.0, 1.7e308, INF]


def test_the_same_infinity_again_is_one_point(store, run_id):
    for _ in range(2):
        store.log_metric(run_id, Metric("n", INF, 1, 1))
    store.log_metric(run_id, Metric("n", -INF, 1, 1))
    assert [m.value for m in store.get_metric_history(run_id, "n").items] == [-INF, INF]
    assert {m.key: m.value for m in store.get_run(run_id).data.metrics}["n"] == INF


@pytest.mark.parametrize(("direction", "expected"), [("ASC", "-inf 0 inf nan none"), ("DESC", "inf 0 -inf nan none")])
def test_runs_are_sorted_with_them_at_the_ends(store, experiment, new_run, direction, expected):
    for name in ("0", "inf", "nan", "-inf"):
        new_run(name, metrics={"k": float(name)})
    new_run("none")
    found = store.search_runs([experiment], order_by=[f"metrics.k {direction}"]).items
    assert " ".join(run.info.run_name for run in found) == expected


def test_in_a_logged_model(store, experiment, run_id):
    model = store.create_logged_model(experiment, "a model")
    store.log_metric(run_id, Metric("score", -INF, 1, 1, model_id=model.model_id))
    assert [m.value for m in store.get_logged_model(model.model_id).metrics] == [-INF]


@pytest.mark.parametrize("sent", ["Infinity", "-Infinity"])
def test_a_server_keeps_them_and_answers_with_the_largest_numbers_as_mlflow_does(served_store_uri, sent):
    with open_store(served_store_uri) as remote:
        run_id = remote.create_run("0").info.run_id
        body = {"run_id": run_id, "key": "m", "value": sent, "timestamp": 1}
        httpx.post(f"{served_store_uri}/api/2.0/mlflow/runs/log-metric", json=body, timeout=30).raise_for_status()
        answer = httpx.get(f"{served_store_uri}/api/2.0/mlflow/runs/get", params={"run_id": run_id}, timeout=30).json()
        (point,) = answer["run"]["data"]["metrics"]
        assert point["value"] == math.copysign(sys.float_info.max, float(sent))
        # Our own client knows what that means, and the store behind the server has never held anything else.
        assert remote.get_run(run_id).data.metrics[0].value == float(sent)
        assert remote.search_runs(["0"], "metrics.m > 1.7976931348623157e308").items == (
            (remote.get_run(run_id),) if sent == "Infinity" else ()
        )
