"""The module returns the same with a real MLflow server as with its own store."""

import json
import math
import re
from typing import Any

import pytest

from mistk_service.tracking import open_store
from mistk_service.tracking.errors import InvalidParameter, InvalidState, ResourceExists, ResourceNotFound, StoreError
from mistk_service.tracking.mlops import Workspace

pytestmark = pytest.mark.timeout(180)  # the first test that wants MLflow's server waits for its start


@pytest.fixture
def remote(mlflow_store_uri):
    with open_store(mlflow_store_uri) as store:
        yield store


def story(store):
    """Do a bit of everything, and return what came back and what is in the store."""
    workspace = Workspace(store)
    seen: dict[str, Any] = {}
    project = seen["project"] = workspace.create_project("Digits / numbers", "Reads postcodes. Ä", "in progress", True)
    seen["active project"] = workspace.set_active_project(project["id"])
    experiment = seen["experiment"] = workspace.create_experiment("small/network", "One layer.")
    seen["active experiment"] = workspace.set_active_experiment(experiment["id"])
    dataset = seen["dataset"] = workspace.create_dataset("mnist", "s3://b/mnist.npz", "Digits.", {"owner": "nist"}, "2")
    seen["labelled"] = workspace.create_dataset("labelled", "labelled.npz", tags=["images", "grey"])
    with workspace.start_iteration("one") as iteration:
        iteration.log_dataset(dataset["id"])
        iteration.log_parameters({f"p{n}": n for n in range(120)})
        for n in range(1200):
            iteration.log_metrics({"loss": 1 / (n + 1), "step": n})
        iteration.log_metrics({"nothing": math.nan, "negative": -0.5})
        iteration.log_path_to_model("models/digits.npz")
    seen["iteration"] = dict(iteration)
    failed = workspace.start_iteration("two")
    with pytest.raises(ZeroDivisionError), failed:
        failed.log_metric("loss", 1 / 0)
    seen["failed"] = dict(failed)
    seen["found again"] = [workspace.get_project(project["id"]), workspace.get_experiment(experiment["id"])]
    seen["stored"] = [stored(store.get_run(run["id"])) for run in (iteration, failed, dataset)]
    seen["history"] = [(point.step, point.value) for point in store.get_metric_history(iteration["id"], "loss").items]
    return seen, {
        "project": project["id"],
        "experiment": experiment["id"],
        "dataset": dataset["id"],
        "run": iteration["id"],
    }


def stored(run):
    return {
        "name": run.info.run_name,
        "status": run.info.status.name,
        "user": run.info.user_id,
        "metrics": {point.key: (repr(point.value), point.step) for point in run.data.metrics},
        "params": {param.key: param.value for param in run.data.params},
        "tags": {tag.key: tag.value for tag in run.data.tags},
        "inputs": [
            (use.dataset.name, use.dataset.digest, use.dataset.source_type, use.dataset.source,
             {tag.key: tag.value for tag in use.tags})
            for use in run.inputs.dataset_inputs
        ],
    }  # fmt: skip


def masked(seen):
    """The text of what was seen, without what differs by nature: ids and times."""
    text = json.dumps(seen, sort_keys=True, indent=1)
    text = re.sub(r'(_at": )"[^"]*"', r'\1"TIME"', text)
    text = re.sub(r"\b[0-9a-f]{32}\b", "RUN", text)
    text = re.sub(r'(id": |projectId": )"\d+"', r'\1"ID"', text)
    return re.sub(r"\bid \d+", "id ID", text).splitlines()


def test_the_same_story_gives_the_same(remote, tmp_path):
    with open_store(f"sqlite:///{tmp_path}/store.db") as own:
        expected, _ = story(own)
    seen, ids = story(remote)
    assert masked(seen) == masked(expected)
    check_refusals(Workspace(remote), remote, ids)


def check_refusals(workspace, store, ids):
    """What is refused by a store of one's own is refused by the server, with the same errors."""
    with pytest.raises(ResourceExists, match="is taken"):
        workspace.create_project("Digits / numbers")
    with pytest.raises(ResourceExists, match="cannot have another experiment"):
        workspace.create_experiment("small/network", project_id=ids["project"])
    for unknown in ("4711", "first"):
        with pytest.raises(ResourceNotFound, match=f"no project with the id '{unknown}'"):
            workspace.get_project(unknown)
    with pytest.raises(ResourceNotFound, match="create_project returned"):
        workspace.get_project(ids["experiment"])
    iteration = workspace.start_iteration("refused", experiment_id=ids["experiment"])
    with pytest.raises(ResourceNotFound):
        iteration.log_dataset("0" * 32)
    with pytest.raises(ResourceNotFound, match="not of a dataset"):
        iteration.log_dataset(ids["run"])
    with pytest.raises(InvalidParameter):
        iteration.log_metric("a$b", 1)
    store.delete_run(iteration["id"])
    with pytest.raises(StoreError):
        iteration.end_iteration()
    store.restore_run(iteration["id"])
    assert iteration.end_iteration()["status"] == "FINISHED"
    store.delete_experiment(ids["experiment"])
    with pytest.raises(InvalidState, match="was deleted"):
        workspace.start_iteration("too late", experiment_id=ids["experiment"])
