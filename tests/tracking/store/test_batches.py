"""Batches of metrics, params and tags."""

import math
import random

import pytest

from mistk_service.tracking.errors import InvalidParameter, ResourceNotFound
from mistk_service.tracking.values import Metric, Param, RunData, Tag

NAN, INFINITY = float("nan"), float("inf")


@pytest.fixture
def run_id(store, experiment):
    return store.create_run(experiment, run_name="a run").info.run_id


NAME = Tag("mlflow.runName", "a run")


def latest(store, run_id):
    return {metric.key: metric for metric in store.get_run(run_id).data.metrics}


def test_a_batch_is_read_back(store, run_id):
    store.log_batch(run_id, [Metric("b", 2.5, 1, -3), Metric("a", 1.0, 2)], [Param("p", "1")], [Tag("t", "")])
    assert store.get_run(run_id).data == RunData(
        (Metric("a", 1.0, 2), Metric("b", 2.5, 1, -3)), (Param("p", "1"),), (NAME, Tag("t", ""))
    )


def test_numbers_are_exact(store, run_id):
    numbers = [0.1, -0.0, 5e-324, 1.797693134862315e308, INFINITY, -INFINITY, 2**53 + 1.0]
    big = 2**63 - 1
    store.log_batch(run_id, [Metric(f"m{i}", x, big - i, (-1) ** i * big) for i, x in enumerate(numbers)])
    for i, number in enumerate(numbers):
        assert latest(store, run_id)[f"m{i}"] == Metric(f"m{i}", number, big - i, (-1) ** i * big)


@pytest.mark.parametrize("store_uri", ["sqlite file", "postgresql"], indirect=True)
def test_the_largest_double_is_kept(store, run_id):
    store.log_metric(run_id, Metric("m", 1.7976931348623157e308, 1))
    assert latest(store, run_id)["m"].value == 1.7976931348623157e308


@pytest.mark.parametrize("store_uri", ["over http"], indirect=True)
def test_the_largest_double_stands_for_infinity_in_answers_of_a_server(store, run_id):
    store.log_metric(run_id, Metric("m", -1.7976931348623157e308, 1))
    assert latest(store, run_id)["m"].value == -INFINITY


def test_nan_is_kept(store, run_id):
    store.log_metric(run_id, Metric("m", NAN, 1))
    assert math.isnan(latest(store, run_id)["m"].value)
    assert math.isnan(store.get_metric_history(run_id, "m").items[0].value)


def test_the_latest_point_is_the_greatest_not_the_last(store, run_id):
    points = [
        Metric("m", value, timestamp, step) for value in (-1.0, 0.5, 9.0) for timestamp in (1, 5) for step in (-2, 3)
    ]
    random.Random(4).shuffle(points)
    for point in points:
        store.log_metric(run_id, point)
    store.log_batch(run_id, [Metric("n", p.value, p.timestamp, p.step) for p in points])
    assert latest(store, run_id)["m"] == Metric("m", 9.0, 5, 3)
    assert latest(store, run_id)["n"] == Metric("n", 9.0, 5, 3)


def test_nan_ranks_as_zero_among_points_of_one_moment(store, run_id):
    for key, other in (("above", 1.0), ("below", -1.0)):
        store.log_batch(run_id, [Metric(key, other, 1), Metric(key, NAN, 1)])
    assert latest(store, run_id)["above"].value == 1.0
    assert math.isnan(latest(store, run_id)["below"].value)


def test_an_exact_repeat_is_stored_once(store, run_id):
    for _ in range(2):
        store.log_batch(run_id, [Metric("m", 1.0, 1), Metric("m", 1.0, 1), Metric("m", NAN, 1), Metric("m", 2.0, 1)])
    assert len(store.get_metric_history(run_id, "m")) == 3


def test_long_params_and_tags_are_cut(store, run_id):
    store.log_batch(run_id, params=[Param("p", "x" * 6001)], tags=[Tag("t", "y" * 8001)])
    data = store.get_run(run_id).data
    assert data.params == (Param("p", "x" * 6000),)
    assert data.tags[1] == Tag("t", "y" * 8000)
    store.log_param(run_id, Param("p", "x" * 7000))


def test_a_param_cannot_change(store, run_id):
    store.log_param(run_id, Param("p", "1"))
    store.log_param(run_id, Param("p", "1"))
    with pytest.raises(InvalidParameter, match="Changing param values is not allowed"):
        store.log_param(run_id, Param("p", "2"))
    assert store.get_run(run_id).data.params == (Param("p", "1"),)


def test_a_batch_is_applied_whole_or_not_at_all(store, run_id):
    store.log_param(run_id, Param("old", "1"))
    before = store.get_run(run_id)
    batch = ([Metric("m", 1.0, 1)], [Param("new", "1"), Param("old", "2")], [Tag("mlflow.runName", "other")])
    with pytest.raises(InvalidParameter):
        store.log_batch(run_id, *batch)
    with pytest.raises(InvalidParameter):
        store.submit_batch(run_id, *batch).result(30)
    assert store.get_run(run_id) == before
    assert len(store.get_metric_history(run_id, "m")) == 0


def test_equal_params_in_one_batch_are_refused(store, run_id):
    with pytest.raises(InvalidParameter, match="Duplicate") as caught:
        store.log_batch(run_id, params=[Param("p", "1"), Param("p", "1")])
    assert caught.value.field == "params[1].key"


def test_the_last_of_equal_tags_counts(store, run_id):
    store.log_batch(run_id, tags=[Tag("t", "1"), Tag("t", "2")])
    assert Tag("t", "2") in store.get_run(run_id).data.tags


def test_a_batch_over_the_limits_is_refused(store, run_id):
    for counts, field in [
        ((1001, 0, 0), "metrics"),
        ((0, 101, 0), "params"),
        ((0, 0, 101), "tags"),
        ((900, 100, 1), "metrics"),
    ]:
        metrics, params, tags = counts
        with pytest.raises(InvalidParameter, match="at most") as caught:
            store.log_batch(
                run_id,
                [Metric("m", float(i), 1) for i in range(metrics)],
                [Param(f"p{i}", "") for i in range(params)],
                [Tag(f"t{i}", "") for i in range(tags)],
            )
        assert caught.value.field == field
        assert store.get_run(run_id).data == RunData(tags=(NAME,))


def test_the_largest_batch_is_accepted(store, run_id):
    store.log_batch(
        run_id,
        [Metric("m", float(i), 1) for i in range(800)],
        [Param(f"p{i}", "") for i in range(100)],
        [Tag(f"t{i}", "") for i in range(100)],
    )
    assert len(store.get_metric_history(run_id, "m")) == 800


def test_a_bad_key_is_refused_with_its_place(store, run_id):
    for key in ["", "/a", "a//b", "a/../b", "../a", "./a", ".", "a/", "a\n", "a\0", "k" * 251, "a;b", "a,b"]:
        good = [Metric("fine", 1.0, 1)]
        with pytest.raises(InvalidParameter) as metric:
            store.log_batch(run_id, [*good, Metric(key, 1.0, 1)])
        with pytest.raises(InvalidParameter) as param:
            store.log_batch(run_id, good, [Param(key, "")])
        with pytest.raises(InvalidParameter) as tag:
            store.log_batch(run_id, good, [], [Tag(key, "")])
        assert [e.value.field for e in (metric, param, tag)] == ["metrics[1].name", "params[0].key", "tags[0].key"]
        assert store.get_run(run_id).data.metrics == ()


def test_a_good_key_is_accepted(store, run_id):
    for key in ["a/b", "損失", "a b", "a.b-c_d:e", "k" * 250]:
        store.log_batch(run_id, [Metric(key, 1.0, 1)], [Param(key, "v")], [Tag(key, "v")])
        assert latest(store, run_id)[key].value == 1.0


def test_a_negative_timestamp_is_refused(store, run_id):
    with pytest.raises(InvalidParameter, match="timestamp"):
        store.log_metric(run_id, Metric("m", 1.0, -1))


def test_a_step_beyond_64_bits_is_refused(store, run_id):
    for step in [2**63, -(2**63) - 1]:
        with pytest.raises(InvalidParameter) as caught:
            store.log_batch(run_id, [Metric("m", 1.0, 1), Metric("m", 1.0, 1, step)])
        assert caught.value.field == "metrics[1].step"
        store.log_metric(run_id, Metric("m", 1.0, 1, -(2**63)))


@pytest.mark.parametrize("text", ["nul\0", "half \ud800"])
def test_text_that_no_database_can_hold_is_refused(store, run_id, text):
    for batch in ({"params": [Param("p", text)]}, {"tags": [Tag("t", text)]}):
        with pytest.raises(InvalidParameter):
            store.log_batch(run_id, **batch)


def test_any_other_text_is_kept(store, run_id):
    text = "".join(map(chr, range(1, 0x250))) + "🙂\\%_'\"`"
    store.log_batch(run_id, params=[Param("p", text)], tags=[Tag("t", text)])
    data = store.get_run(run_id).data
    assert (data.params, data.tags[1]) == ((Param("p", text),), Tag("t", text))


def test_a_bad_id_is_refused(store):
    for run_id in ("", "a/b", "-a", "x" * 257):
        with pytest.raises(InvalidParameter, match="run_id"):
            store.log_batch(run_id)


def test_a_submitted_batch_is_there_when_its_future_is_done(store, run_id):
    futures = [store.submit_batch(run_id, [Metric("m", float(i), i)]) for i in range(50)]
    assert [future.result(30) for future in futures] == [None] * 50
    assert [m.value for m in store.get_metric_history(run_id, "m")] == [float(i) for i in range(50)]


def test_a_submitted_batch_that_is_wrong_in_itself_is_refused_at_once(store, run_id):
    with pytest.raises(InvalidParameter):
        store.submit_batch(run_id, [Metric("", 1.0, 1)])
    with pytest.raises(ResourceNotFound):
        store.submit_batch("nobody", [Metric("m", 1.0, 1)]).result(30)
