"""Iterations collect what is logged, send it when they end, and lose nothing if that fails."""

import inspect
import json
import math
import threading
import traceback

import numpy as np
import pytest

from mistk_service.tracking.errors import (
    InvalidParameter,
    InvalidState,
    ResourceNotFound,
    StoreUnavailable,
)
from mistk_service.tracking.mlops import Iteration, Workspace
from mistk_service.tracking.values import RunStatus


def tags_of(run):
    return {tag.key: tag.value for tag in run.data.tags}


def params_of(run):
    return {param.key: param.value for param in run.data.params}


def points_of(store, iteration, key):
    return [(point.step, point.value) for point in store.get_metric_history(iteration["id"], key).items]


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("log_path_to_model", ["path_to_model"]),
        ("log_metric", ["metric_name", "value"]),
        ("log_metrics", ["metrics"]),
        ("log_parameter", ["parameter_name", "value"]),
        ("log_parameters", ["parameters"]),
        ("log_dataset", ["dataset_id"]),
        ("end_iteration", []),
    ],
)
def test_the_methods_have_the_arguments_that_are_promised(method, arguments):
    assert list(inspect.signature(getattr(Iteration, method)).parameters)[1:] == arguments


def test_an_iteration_is_in_the_store_as_running_from_the_start(store, project, experiment, iteration):
    run = store.get_run(iteration["id"])
    assert (run.info.run_name, run.info.status, run.info.experiment_id) == ("one", RunStatus.RUNNING, experiment)
    assert tags_of(run)["mlops.projectId"] == project
    assert tags_of(run)["mlops.kind"] == "iteration"
    assert run.info.start_time == 1_700_000_000_001


def test_nothing_is_sent_before_the_end(workspace, unreliable, iteration):
    dataset = workspace.create_dataset("mnist", "mnist.npz")
    unreliable.written.clear()
    iteration.log_metrics({"loss": 1.0})
    iteration.log_parameters({"rate": 0.1})
    iteration.log_path_to_model("model.npz")
    iteration.log_dataset(dataset["id"])
    assert unreliable.written == []


def test_the_end_sends_everything_and_returns_it(workspace, store, project, experiment, iteration):
    dataset = workspace.create_dataset("mnist", "s3://bucket/mnist.npz", version="2")
    iteration.log_parameter("rate", 0.1)
    iteration.log_parameters({"depth": 3, "kind": None, "rate": 0.1})
    iteration.log_metric("loss", 0.5)
    iteration.log_metrics({"loss": 0.25, "accuracy": np.float32(0.5)})
    iteration.log_path_to_model("older.npz")
    iteration.log_path_to_model("models/digits.npz")
    iteration.log_dataset(dataset["id"])
    ended = iteration.end_iteration()
    assert ended == {
        "id": iteration["id"],
        "name": "one",
        "project_id": project,
        "experiment_id": experiment,
        "status": "FINISHED",
        "path_to_model": "models/digits.npz",
        "metrics": {"loss": 0.25, "accuracy": 0.5},
        "parameters": {"rate": "0.1", "depth": "3", "kind": "None"},
        "datasets": [dataset["id"]],
        "started_at": "2023-11-14T22:13:20.001+00:00",
        "ended_at": ended["ended_at"],
    }
    run = store.get_run(iteration["id"])
    assert run.info.status is RunStatus.FINISHED
    assert run.info.end_time > run.info.start_time
    assert params_of(run) == ended["parameters"]
    assert {point.key: point.value for point in run.data.metrics} == ended["metrics"]
    assert points_of(store, iteration, "loss") == [(0, 0.5), (1, 0.25)]
    assert tags_of(run)["mlops.modelPath"] == "models/digits.npz"
    assert json.loads(tags_of(run)["mlops.datasets"]) == [dataset["id"]]
    (use,) = run.inputs.dataset_inputs
    assert (use.dataset.name, use.dataset.source_type) == ("mnist", "s3")
    assert {tag.key: tag.value for tag in use.tags} == {"mlops.datasetId": dataset["id"], "mlops.version": "2"}


def test_a_clock_that_goes_back_does_not_end_an_iteration_before_its_start(store, experiment):
    times = iter([5000, 3000])
    iteration = Workspace(store, lambda: next(times)).start_iteration("one", experiment_id=experiment)
    assert iteration.end_iteration()["ended_at"] == iteration["started_at"]


def test_the_last_value_of_a_metric_is_the_one_that_was_logged_last(store, experiment):
    # A clock that stands still: the values come within one millisecond.
    with Workspace(store, lambda: 1_700_000_000_000).start_iteration("fast", experiment_id=experiment) as iteration:
        for value in (5.0, 7.0, 1.0):
            iteration.log_metric("loss", value)
    assert store.get_run(iteration["id"]).data.metrics[0].value == 1.0


def test_what_is_not_a_finite_number_is_kept_and_the_json_is_valid(store, iteration):
    values = {"a": math.nan, "b": math.inf, "c": -math.inf, "d": True, "e": 10}
    iteration.log_metrics(values)
    ended = iteration.end_iteration()
    assert ended["metrics"] == {"a": "NaN", "b": "Infinity", "c": "-Infinity", "d": 1.0, "e": 10.0}
    assert json.loads(json.dumps(ended, allow_nan=False)) == ended
    kept = {point.key: point.value for point in store.get_run(iteration["id"]).data.metrics}
    assert math.isnan(kept.pop("a"))
    assert kept == {"b": math.inf, "c": -math.inf, "d": 1.0, "e": 10.0}


def test_an_iteration_is_its_json_of_the_moment(iteration):
    before = dict(iteration)
    assert before["status"] == "RUNNING"
    assert before["ended_at"] is None
    iteration.log_metric("loss", 1)
    assert iteration["metrics"] == {"loss": 1.0}
    assert before["metrics"] == {}
    assert iteration.end_iteration() == dict(iteration)


def test_an_iteration_is_a_dictionary_that_json_can_write(iteration):
    iteration.log_metrics({"loss": 0.5, "gap": math.nan})
    iteration.log_parameter("rate", 0.1)
    iteration.log_path_to_model("model.pt")
    for indent in (None, 2):  # the fast encoder of the standard library, and the other one
        assert json.loads(json.dumps(iteration, indent=indent)) == iteration
    assert (iteration["metrics"], iteration["parameters"]) == ({"loss": 0.5, "gap": "NaN"}, {"rate": "0.1"})
    iteration.end_iteration()
    assert json.loads(json.dumps(iteration, allow_nan=False))["status"] == "FINISHED"


def test_more_than_a_batch_holds_arrives_whole(workspace, store, iteration):
    for n in range(2500):
        iteration.log_metric("loss", float(n))
    iteration.log_parameters({f"p{n}": n for n in range(250)})
    iteration.end_iteration()
    assert points_of(store, iteration, "loss") == [(n, float(n)) for n in range(2500)]
    assert params_of(store.get_run(iteration["id"])) == {f"p{n}": str(n) for n in range(250)}


def test_threads_may_log_at_once(store, iteration):
    def log(name):
        for n in range(200):
            iteration.log_metrics({"shared": n, name: n})
            iteration.log_parameter(f"{name} {n}", n)

    threads = [threading.Thread(target=log, args=(f"own {i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    iteration.end_iteration()
    assert [step for step, _ in points_of(store, iteration, "shared")] == list(range(800))
    assert points_of(store, iteration, "own 3") == [(n, float(n)) for n in range(200)]
    assert len(store.get_run(iteration["id"]).data.params) == 800


@pytest.mark.parametrize("failure", ["before", "after"])
@pytest.mark.parametrize("at", range(7))
def test_wherever_the_send_fails_a_second_one_completes_it_once(workspace, store, unreliable, iteration, failure, at):
    dataset = workspace.create_dataset("mnist", "mnist.npz")
    iteration.log_dataset(dataset["id"])
    iteration.log_parameters({f"p{n}": n for n in range(150)})
    for n in range(1500):
        iteration.log_metric("loss", n)
    iteration.log_path_to_model("model.npz")
    unreliable.written.clear()
    unreliable.failures = ["pass"] * at + [failure]
    with pytest.raises(StoreUnavailable):
        iteration.end_iteration()
    assert len(unreliable.written) == at + 1
    decided = iteration["ended_at"]
    ended = iteration.end_iteration()
    # Seven writes there are, of which the one that failed may come twice, and none that was acknowledged. Metrics that the
    # store turns out to have are not sent again.
    there = failure == "after" and at in (3, 4)
    assert len(unreliable.written) == (7 if there else 8)
    run = store.get_run(iteration["id"])
    assert run.info.status is RunStatus.FINISHED
    assert ended["ended_at"] == decided
    assert len(run.data.params) == 150
    assert points_of(store, iteration, "loss") == [(n, float(n)) for n in range(1500)]
    assert len(run.inputs.dataset_inputs) == 1
    assert tags_of(run)["mlops.modelPath"] == "model.npz"


def test_what_a_store_refuses_holds_up_nothing_else(store, unreliable, iteration):
    bad = {0, 700, 701, 1499}
    unreliable.dislikes = lambda metric: metric.key == "loss" and metric.step in bad
    for n in range(1500):
        iteration.log_metric("loss", n)
    iteration.log_path_to_model("model.npz")
    with pytest.raises(InvalidParameter, match="except for 4 items") as caught:
        iteration.end_iteration()
    for step in bad:
        assert f"the metric 'loss' with the value {float(step)} at step {step}: There is a metric" in str(caught.value)
    assert points_of(store, iteration, "loss") == [(n, float(n)) for n in range(1500) if n not in bad]
    run = store.get_run(iteration["id"])
    assert run.info.status is RunStatus.FINISHED
    assert tags_of(run)["mlops.modelPath"] == "model.npz"
    # It is found by halves, not by trying one after the other.
    assert unreliable.written.count("log_batch") < 150
    assert iteration.ended
    assert iteration.end_iteration()["status"] == "FINISHED"


def test_a_refusal_is_not_forgotten_over_an_outage(store, unreliable, iteration):
    unreliable.dislikes = lambda metric: metric.key == "bad"
    iteration.log_metrics({"bad": 1, "good": 2})
    unreliable.failures = ["pass", "pass", "pass", "before"]
    with pytest.raises(StoreUnavailable):
        iteration.end_iteration()
    with pytest.raises(InvalidParameter, match="the metric 'bad'"):
        iteration.end_iteration()
    assert [point.key for point in store.get_run(iteration["id"]).data.metrics] == ["good"]


def test_of_many_refusals_some_are_named(unreliable, iteration):
    unreliable.dislikes = lambda metric: True
    iteration.log_metrics({f"m{n}": n for n in range(20)})
    with pytest.raises(InvalidParameter, match=r"except for 20 .*'m4' .*; \.\.\.$"):
        iteration.end_iteration()


def test_ending_twice_changes_nothing(unreliable, iteration):
    first = iteration.end_iteration()
    unreliable.written.clear()
    assert iteration.end_iteration() == first
    assert unreliable.written == []


def test_a_deleted_run_refuses_the_send_and_takes_it_once_restored(store, iteration):
    iteration.log_metric("loss", 1)
    store.delete_run(iteration["id"])
    with pytest.raises(InvalidParameter, match="active"):
        iteration.end_iteration()
    store.restore_run(iteration["id"])
    iteration.end_iteration()
    assert points_of(store, iteration, "loss") == [(0, 1.0)]


@pytest.mark.parametrize("sent", [True, False])
def test_after_the_end_nothing_can_be_logged(unreliable, iteration, sent):
    if sent:
        iteration.end_iteration()
    else:
        unreliable.failures = ["before"]
        with pytest.raises(StoreUnavailable):
            iteration.end_iteration()
    for log in (
        lambda: iteration.log_metric("loss", 1),
        lambda: iteration.log_parameter("rate", 1),
        lambda: iteration.log_path_to_model("x"),
    ):
        with pytest.raises(InvalidState, match="'one' has ended"):
            log()
    assert iteration.end_iteration()["metrics"] == {}


def test_a_block_ends_its_iteration(workspace, store, experiment):
    with workspace.start_iteration("one", experiment_id=experiment) as iteration:
        iteration.log_metric("loss", 1)
    assert iteration.ended
    assert store.get_run(iteration["id"]).info.status is RunStatus.FINISHED


def test_a_block_may_end_its_iteration_itself(workspace, unreliable, experiment):
    with workspace.start_iteration("one", experiment_id=experiment) as iteration:
        iteration.end_iteration()
        unreliable.written.clear()
    assert unreliable.written == []


def train_in_a_block(iteration, error):
    with iteration:
        iteration.log_metric("loss", 1)
        raise error


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_an_exception_marks_the_iteration_failed_and_keeps_what_was_logged(workspace, store, experiment, kind):
    iteration = workspace.start_iteration("one", experiment_id=experiment)
    with pytest.raises(kind, match="it diverged"):
        train_in_a_block(iteration, kind("it diverged"))
    run = store.get_run(iteration["id"])
    assert run.info.status is RunStatus.FAILED
    assert tags_of(run)["mlops.failure"] == f"{kind.__name__}: it diverged"
    assert points_of(store, iteration, "loss") == [(0, 1.0)]
    assert iteration.end_iteration()["status"] == "FAILED"


def test_where_the_store_fails_too_the_exception_is_the_one_of_the_block(workspace, store, unreliable, experiment):
    iteration = workspace.start_iteration("one", experiment_id=experiment)
    unreliable.failures = ["before"]
    with pytest.raises(ValueError, match="it diverged") as caught:
        train_in_a_block(iteration, ValueError("it diverged"))
    assert "Call its end_iteration() to try again" in "".join(traceback.format_exception(caught.value))
    assert store.get_run(iteration["id"]).info.status is RunStatus.RUNNING
    assert iteration.end_iteration()["status"] == "FAILED"
    run = store.get_run(iteration["id"])
    assert run.info.status is RunStatus.FAILED
    assert tags_of(run)["mlops.failure"] == "ValueError: it diverged"


def test_a_send_that_fails_at_the_end_of_the_block_is_heard_of_and_marks_nothing_failed(
    workspace, unreliable, experiment
):
    iteration = workspace.start_iteration("one", experiment_id=experiment)
    with pytest.raises(StoreUnavailable), iteration:
        unreliable.failures = ["before"]
    assert iteration.end_iteration()["status"] == "FINISHED"


def test_a_send_that_fails_inside_of_the_block_marks_nothing_failed(workspace, unreliable, experiment):
    iteration = workspace.start_iteration("one", experiment_id=experiment)
    unreliable.failures = ["before"]
    with pytest.raises(StoreUnavailable), iteration:
        iteration.end_iteration()
    assert iteration.end_iteration()["status"] == "FINISHED"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("loss", "0.5"),
        ("loss", b"1"),
        ("loss", None),
        ("loss", [1, 2]),
        ("loss", np.array([1.0, 2.0])),
        ("loss", 1 + 2j),
        ("loss", 10**400),
        ("", 1),
        (3, 1),
        ("a$b", 1),
        ("x" * 251, 1),
        ("../up", 1),
    ],
)
@pytest.mark.parametrize("store", ["sqlite"], indirect=True)  # it is refused before it goes to a store
def test_a_metric_that_is_refused_harms_no_other(store, iteration, name, value):
    iteration.log_metric("loss", 1)
    with pytest.raises(InvalidParameter):
        iteration.log_metric(name, value)
    with pytest.raises(InvalidParameter):
        iteration.log_metrics({"loss": 2, name: value})
    iteration.end_iteration()
    assert points_of(store, iteration, "loss") == [(0, 1.0)]


def test_a_value_that_is_not_a_number_is_named_with_its_metric(iteration):
    with pytest.raises(
        InvalidParameter, match=r"'high' \(str\) for 'loss' is not valid\. It must be a number"
    ) as caught:
        iteration.log_metric("loss", "high")
    assert caught.value.field == "loss"


@pytest.mark.parametrize("wrong", [None, ["loss"], "loss=1", {1: 2}])
def test_several_things_are_given_as_a_dictionary(iteration, wrong):
    for log in (iteration.log_metrics, iteration.log_parameters):
        with pytest.raises(InvalidParameter, match="must be"):
            log(wrong)


def test_a_parameter_has_one_value(store, iteration):
    iteration.log_parameter("rate", 0.1)
    with pytest.raises(InvalidParameter, match=r"'rate' already has the value '0\.1'"):
        iteration.log_parameters({"depth": 3, "rate": 0.2})
    iteration.end_iteration()
    assert params_of(store.get_run(iteration["id"])) == {"rate": "0.1"}


@pytest.mark.parametrize("path", [None, "", 3, "x" * 8001, "a\0b"])
def test_a_path_that_cannot_be_kept_is_refused(iteration, path):
    with pytest.raises(InvalidParameter):
        iteration.log_path_to_model(path)
    assert iteration.end_iteration()["path_to_model"] is None


def test_a_dataset_must_exist(store, iteration, experiment):
    with pytest.raises(ResourceNotFound):
        iteration.log_dataset("0" * 32)
    with pytest.raises(ResourceNotFound, match="not of a dataset"):
        iteration.log_dataset(store.create_run(experiment).info.run_id)
    with pytest.raises(InvalidParameter):
        iteration.log_dataset(None)
    assert iteration.end_iteration()["datasets"] == []


def test_a_dataset_is_used_once_however_often_it_is_logged(workspace, store, iteration):
    first, second = (workspace.create_dataset("mnist", f"{n}.npz")["id"] for n in range(2))
    for dataset in (first, second, first):
        iteration.log_dataset(dataset)
    assert iteration.end_iteration()["datasets"] == [first, second]
    assert len(store.get_run(iteration["id"]).inputs.dataset_inputs) == 2


def test_an_iteration_of_the_wrong_project_is_refused(workspace, unreliable, project, experiment):
    other = workspace.create_project("Letters")["id"]
    with pytest.raises(InvalidParameter, match="belongs to the project"):
        workspace.start_iteration("one", other, experiment)
    assert unreliable.written == []
    assert workspace.start_iteration("one", project, experiment)["project_id"] == project


def test_the_open_iterations_are_those_that_were_not_sent(workspace, unreliable, experiment):
    first, second = (workspace.start_iteration(name, experiment_id=experiment) for name in ("1", "2"))
    assert sorted(map(repr, workspace.open_iterations)) == sorted(map(repr, [first, second]))
    first.end_iteration()
    unreliable.failures = ["before"]
    with pytest.raises(StoreUnavailable):
        second.end_iteration()
    assert workspace.open_iterations == [second]
    second.end_iteration()
    assert workspace.open_iterations == []
