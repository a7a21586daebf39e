"""The module with GitLab as its store, which lacks some features."""

import math
from typing import Any, cast

import pytest

from mistk_service.tracking.errors import InvalidParameter, ResourceExists, ResourceNotFound, StoreUnavailable
from mistk_service.tracking.mlops import Workspace
from mistk_service.tracking.rest import RestConfig, open_rest_store
from mistk_service.tracking.values import RunStatus
from tests.support.gitlab import gitlab
from tests.tracking.mlops.conftest import Unreliable


@pytest.fixture(params=["new", "old"])
def store(request):
    new = request.param == "new"
    with gitlab(batch_tags=new, metric_history=new) as project:
        with open_rest_store(RestConfig(project.uri, token=project.token)) as store:
            yield store


def test_everything_is_there_that_was_written(store):
    workspace = Workspace(store)
    project = workspace.create_project("Digits", "Reads postcodes.", "in progress", True)
    workspace.set_active_project(project["id"])
    experiment = workspace.create_experiment("first", "With less data.")
    workspace.set_active_experiment(experiment["id"])
    dataset = workspace.create_dataset("mnist", "s3://bucket/mnist.npz", "Digits.", {"owner": "nist"}, "2")
    with workspace.start_iteration("one") as iteration:
        iteration.log_dataset(dataset["id"])
        iteration.log_parameters({f"p{n}": n for n in range(150)})
        for n in range(1200):
            iteration.log_metric("loss", n)
        iteration.log_path_to_model("older.npz")
        iteration.log_path_to_model("model.npz")

    again = Workspace(store)
    assert again.get_project(project["id"]) == project
    assert (project["description"], project["status"], project["archived"]) == ("Reads postcodes.", "in progress", True)
    assert again.get_experiment(experiment["id"]) == experiment
    assert (experiment["name"], experiment["description"]) == ("first", "With less data.")
    run = store.get_run(iteration["id"])
    assert run.info.status is RunStatus.FINISHED
    assert len(run.data.params) == 150
    assert {point.key: point.value for point in run.data.metrics} == {"loss": 1199.0}
    assert {tag.key: tag.value for tag in run.data.tags}["mlops.modelPath"] == "model.npz"
    assert iteration["datasets"] == [dataset["id"]]
    assert dataset["tags"] == {"owner": "nist"}


def fail_in_a_block(iteration):
    with iteration:
        iteration.log_metrics({"loss": math.nan, "accuracy": 0.5})
        raise ZeroDivisionError("division by zero")


def test_a_failed_iteration_is_failed_there_and_what_gitlab_does_not_take_is_reported(store):
    workspace = Workspace(store)
    experiment = workspace.create_experiment("first", project_id=workspace.create_project("Digits")["id"])
    iteration = workspace.start_iteration("one", experiment_id=experiment["id"])
    with pytest.raises(ZeroDivisionError) as caught:
        fail_in_a_block(iteration)
    (note,) = caught.value.__notes__
    assert "is stored, except for 1 item that the store refused" in note
    assert "the metric 'loss' with the value nan at step 0" in note
    run = store.get_run(iteration["id"])
    assert run.info.status is RunStatus.FAILED
    assert [point.key for point in run.data.metrics] == ["accuracy"]
    assert {tag.key: tag.value for tag in run.data.tags}["mlops.failure"] == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize("store", ["new"], indirect=True)  # older ones cannot be asked for a history
def test_points_whose_answer_was_lost_are_not_there_twice(store):
    unreliable = Unreliable(store)
    workspace = Workspace(cast(Any, unreliable))
    experiment = workspace.create_experiment("first", project_id=workspace.create_project("Digits")["id"])
    iteration = workspace.start_iteration("one", experiment_id=experiment["id"])
    for n in range(1500):
        iteration.log_metrics({"loss": n, "accuracy": -n})
    unreliable.failures = ["pass", "after"]
    with pytest.raises(StoreUnavailable):
        iteration.end_iteration()
    assert len(points_of(store, iteration, "loss")) == 1000
    iteration.end_iteration()
    assert points_of(store, iteration, "loss") == [(n, float(n)) for n in range(1500)]
    assert points_of(store, iteration, "accuracy") == [(n, float(-n)) for n in range(1500)]


def points_of(store, iteration, key):
    return sorted((point.step, point.value) for point in store.get_metric_history(iteration["id"], key).items)


def test_what_is_wrong_is_refused_as_elsewhere(store):
    workspace = Workspace(store)
    project = workspace.create_project("Digits")["id"]
    with pytest.raises(ResourceExists, match="is taken"):
        workspace.create_project("Digits")
    for unknown in ("4711", "first"):
        with pytest.raises(ResourceNotFound):
            workspace.get_project(unknown)
    with pytest.raises(InvalidParameter, match="No experiment is active"):
        workspace.start_iteration("one")
    experiment = workspace.create_experiment("first", project_id=project)
    with pytest.raises(ResourceNotFound):
        workspace.start_iteration("one", experiment_id=experiment["id"]).log_dataset("0" * 32)
