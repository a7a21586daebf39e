"""The requests of MLFlowClient.jl as it writes them, and the fields that it cannot do without in an answer.

It closes the connection after every request, calls a GET's content JSON, writes null for what is not given, numbers for
enumerations, empty texts for page tokens, and the arguments of a DELETE in the query and in the body.
"""

import uuid
from typing import Any

import httpx
import pytest

HEADERS = {"Connection": "close", "Content-Type": "application/json"}

#: What it reads from a run without asking whether it is there.
INFO = {"run_id", "run_name", "experiment_id", "status", "start_time", "artifact_uri", "lifecycle_stage"}


@pytest.fixture(scope="module")
def julia(server):
    def call(method, endpoint, **arguments):
        query = method in ("GET", "DELETE")
        given = {key: value for key, value in arguments.items() if value is not None}
        response = httpx.request(
            method,
            f"{server.url}/api/2.0/mlflow/{endpoint}",
            headers=HEADERS,
            params=given if query else None,
            json=None if method == "GET" else given if method == "DELETE" else arguments,
            timeout=30,
        )
        assert response.status_code == 200, response.text
        return response.json()

    return call


@pytest.fixture
def experiment_id(julia):
    name = f"julia {uuid.uuid4().hex}"
    return julia("POST", "experiments/create", name=name, artifact_location=None, tags=[])["experiment_id"]


@pytest.fixture
def run_id(julia, experiment_id):
    made = julia("POST", "runs/create", experiment_id=experiment_id, run_name=None, start_time=None, tags=[])
    assert made["run"]["info"].keys() >= INFO
    assert "inputs" in made["run"]
    return made["run"]["info"]["run_id"]


def test_experiments(julia, experiment_id):
    found = julia("GET", "experiments/get", experiment_id=experiment_id)["experiment"]
    assert {"last_update_time", "creation_time", "artifact_location", "lifecycle_stage"} <= found.keys()
    assert julia("GET", "experiments/get-by-name", experiment_name=found["name"])["experiment"] == found
    julia("POST", "experiments/set-experiment-tag", experiment_id=experiment_id, key="k", value="v")
    julia("POST", "experiments/delete-experiment-tag", experiment_id=experiment_id, key="k")
    julia("POST", "experiments/update", experiment_id=experiment_id, new_name=f"{found['name']} renamed")
    julia("POST", "experiments/delete", experiment_id=experiment_id)
    searched = julia("GET", "experiments/search", max_results=20000, view_type=2, filter="", order_by=["name ASC"])
    assert experiment_id in [experiment["experiment_id"] for experiment in searched["experiments"]]
    julia("POST", "experiments/restore", experiment_id=experiment_id)


def test_what_is_logged_to_a_run(julia, run_id):
    nothing = {"model_id": None, "dataset_name": None, "dataset_digest": None}
    # It sends seconds.
    julia("POST", "runs/log-metric", run_id=run_id, key="m", value=1.5, timestamp=1795258000, step=None, **nothing)
    points = [{"key": "b", "value": 2, "timestamp": 1795258000, "step": None}]
    julia("POST", "runs/log-batch", run_id=run_id, metrics=points, params=[], tags=[])
    julia("POST", "runs/log-parameter", run_id=run_id, key="p", value="1")
    julia("POST", "runs/set-tag", run_id=run_id, key="t", value="1")
    julia("POST", "runs/delete-tag", run_id=run_id, key="t")
    run = julia("GET", "runs/get", run_id=run_id)["run"]
    assert [(point["key"], point["step"], point["timestamp"]) for point in run["data"]["metrics"]] == [
        ("b", 0, 1795258000),
        ("m", 0, 1795258000),
    ]
    history = julia("GET", "metrics/get-history", run_id=run_id, metric_key="m", page_token="", max_results=50)
    assert history["metrics"] == [{"key": "m", "value": 1.5, "timestamp": 1795258000, "step": 0}]


def test_the_life_of_a_run(julia, run_id, experiment_id):
    julia("POST", "runs/update", run_id=run_id, status=3, end_time=None, run_name=None)
    for method in ("delete", "restore"):
        julia("POST", f"runs/{method}", run_id=run_id)
    search = {"filter": "", "run_view_type": 1, "max_results": 1000, "order_by": [], "page_token": ""}
    found = julia("POST", "runs/search", experiment_ids=[experiment_id], **search)
    assert [run["info"]["status"] for run in found["runs"]] == ["FINISHED"]
    assert julia("GET", "artifacts/list", run_id=run_id, path="", page_token="")["root_uri"]


def test_registered_models(julia):
    name = f"julia {uuid.uuid4().hex}"
    julia("POST", "registered-models/create", name=name, tags=[], description=None, deployment_job_id=None)
    julia("PATCH", "registered-models/update", name=name, description="d", deployment_job_id=None)
    source: dict[str, Any] = {
        "source": "s3://bucket/model",
        "run_id": None,
        "tags": [],
        "run_link": None,
        "description": None,
    }
    julia("POST", "model-versions/create", name=name, model_id=None, **source)
    julia("POST", "registered-models/alias", name=name, alias="a", version="1")
    assert julia("GET", "registered-models/alias", name=name, alias="a")["model_version"]["version"] == "1"
    for endpoint in ("registered-models", "model-versions"):
        version = {"version": "1"} if endpoint == "model-versions" else {}
        julia("POST", f"{endpoint}/set-tag", name=name, key="k", value="v", **version)
        julia("DELETE", f"{endpoint}/delete-tag", name=name, key="k", **version)
    julia("DELETE", "registered-models/alias", name=name, alias="a")
    julia("DELETE", "model-versions/delete", name=name, version="1")
    julia("DELETE", "registered-models/delete", name=name)
    assert julia("GET", "registered-models/search", filter=f"name = '{name}'", max_results=100, page_token="") == {}
