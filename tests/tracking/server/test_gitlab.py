"""GitLab's dialect: what was written for a project of GitLab runs against a project here."""

import inspect
import os
from pathlib import Path

import pytest

from mistk_service.resources import load_contract
from mistk_service.tracking.mlops import Workspace
from mistk_service.tracking.rest import RestConfig, open_rest_store
from mistk_service.tracking.server.gitlab import GitLabOperations, GitLabTransfers
from mistk_service.tracking.values import Tag
from tests.support.preloaded import CALM, run_python

SESSION = Path(__file__).with_name("gitlab_session.py")


class Project:
    """A project, and calls by the path below its API."""

    def __init__(self, http, workspace):
        self.title = f"group/project {os.urandom(4).hex()}"
        self.id = workspace.create_project(self.title)["id"]
        self.root = f"/api/v4/projects/{self.id}/ml/mlflow"
        self.uri = str(http.base_url).rstrip("/") + self.root
        self.http = http

    def post(self, path, **body):
        return self.http.post(f"{self.root}/api/2.0/mlflow/{path}", json=body)

    def get(self, path, **query):
        return self.http.get(f"{self.root}/api/2.0/mlflow/{path}", params=query)

    def experiment(self, name="first"):
        return self.post("experiments/create", name=name).json()["experiment_id"]

    def run(self, experiment_id=None, **body):
        answer = self.post("runs/create", experiment_id=experiment_id or int(self.experiment()), **body)
        return answer.json()["run"]["info"]["run_id"]

    def data(self, run_id):
        data = self.get("runs/get", run_id=run_id).json()["run"]["data"]
        pairs = {kind: {item["key"]: item["value"] for item in data.get(kind, ())} for kind in ("params", "tags")}
        return {**pairs, "metrics": {item["key"]: item["value"] for item in data.get("metrics", ())}}


@pytest.fixture(scope="module")
def workspace(server):
    with open_rest_store(RestConfig(server.url)) as store:
        yield Workspace(store)


@pytest.fixture
def project(http, workspace):
    return Project(http, workspace)


@pytest.fixture
def other(http, workspace):
    return Project(http, workspace)


def test_the_contract_is_valid_and_every_operation_has_a_method():
    from openapi_spec_validator import validate

    contract = load_contract("gitlab-mlflow-api.yaml")
    validate(contract)
    ids = [operation["operationId"] for item in contract["paths"].values() for operation in item.values()]
    methods = [name for kind in (GitLabOperations, GitLabTransfers) for name, _ in inspect.getmembers(kind, callable)]
    assert sorted(ids) == sorted(name for name in methods if not name.startswith("_"))


def test_experiments_are_numbered_within_their_project(project, other):
    assert [project.experiment("a"), other.experiment("a"), project.experiment("b")] == ["1", "1", "2"]
    listed = project.get("experiments/list").json()["experiments"]
    assert [(each["experiment_id"], each["name"]) for each in listed] == [("1", "a"), ("2", "b")]
    assert listed[0]["artifact_location"] == "not_implemented"
    assert project.get("experiments/get", experiment_id=2).json()["experiment"] == listed[1]
    assert project.get("experiments/get-by-name", experiment_name="b").json()["experiment"] == listed[1]


def test_a_deleted_experiment_is_not_found_and_its_number_is_not_given_again(project):
    project.experiment("a")
    run_id = project.run(1)
    assert project.post("experiments/delete", experiment_id="1").status_code == 200
    assert project.get("experiments/get", experiment_id="1").status_code == 404
    assert project.get("runs/get", run_id=run_id).status_code == 404
    assert project.experiment("b") == "2"


def test_experiments_of_the_mlops_module_are_there_and_the_other_way_round(project, workspace):
    workspace.create_experiment("by hand", project_id=project.id)
    assert project.get("experiments/get", experiment_id="1").json()["experiment"]["name"] == "by hand"
    project.experiment("through the dialect")
    found = workspace.store.search_experiments(filter=f"name LIKE '{project.title}/%'")
    made = [workspace.get_experiment(each.experiment_id) for each in found]
    assert {each["name"] for each in made} == {"by hand", "through the dialect"}


def test_a_project_can_be_the_store_of_the_mlops_module(project):
    with open_rest_store(RestConfig(project.uri)) as store:
        inner = Workspace(store)
        made = inner.create_project("Digits", "Reads postcodes.")
        experiment = inner.create_experiment("first", project_id=made["id"])
        assert inner.get_project(made["id"]) == made
        assert inner.get_experiment(experiment["id"])["project_id"] == made["id"]
    assert len(project.get("experiments/list").json()["experiments"]) == 2


def test_a_project_is_found_by_its_title_with_slashes_escaped(project, http):
    project.experiment("a")
    path = f"/api/v4/projects/{project.title.replace('/', '%2F')}/ml/mlflow/api/2.0/mlflow/experiments/list"
    assert len(http.get(path).json()["experiments"]) == 1


@pytest.mark.parametrize("name", ["0", "4711", "none", "mlops.datasets"])
def test_what_is_not_a_project_is_not_found(http, name):
    answer = http.get(f"/api/v4/projects/{name}/ml/mlflow/api/2.0/mlflow/experiments/list")
    assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_nothing_of_another_project_can_be_reached(project, other, run_id):
    theirs = other.run()
    for found in (theirs, run_id):
        pair = {"run_id": found, "key": "k", "value": "1"}
        metric = {"run_id": found, "key": "k", "value": 1, "timestamp": 1}
        assert [
            project.get("runs/get", run_id=found).status_code,
            project.post("runs/update", run_id=found, status="FINISHED").status_code,
            project.post("runs/delete", run_id=found).status_code,
            project.post("runs/set-tag", **pair).status_code,
            project.post("runs/log-parameter", **pair).status_code,
            project.post("runs/log-metric", **metric).status_code,
            project.post("runs/log-batch", run_id=found).status_code,
            project.get("metrics/get-history", run_id=found, metric_key="k").status_code,
        ] == [404] * 8
    uri = other.get("runs/get", run_id=theirs).json()["run"]["info"]["artifact_uri"]
    place = f"{project.root}/api/2.0/mlflow-artifacts/artifacts/{uri.removeprefix('mlflow-artifacts:/')}/f"
    assert project.http.put(place, content=b"x").status_code == 404
    assert project.http.get(place).status_code == 404


def test_a_run_is_made_read_and_ended(project):
    experiment = int(project.experiment())
    made = project.post("runs/create", experiment_id=experiment, user_id="me", tags=[{"key": "t", "value": "1"}])
    info = made.json()["run"]["info"]
    assert (info["experiment_id"], info["user_id"], info["start_time"]) == ("1", "", 0)
    ended = project.post("runs/update", run_id=info["run_id"], status="FAILED", end_time=9, run_name="new")
    assert (ended.json()["run_info"]["status"], ended.json()["run_info"]["end_time"]) == ("FAILED", 9)
    run = project.get("runs/get", run_id=info["run_id"], run_uuid="ignored").json()["run"]
    assert run["info"]["run_name"] == info["run_name"]
    assert run["info"]["experiment_id"] == "1"
    assert project.post("runs/delete", run_id=info["run_id"]).json() == {}
    assert project.get("runs/get", run_id=info["run_id"]).status_code == 404


def test_a_param_and_a_tag_are_written_once_whatever_the_value(project):
    run_id = project.run()
    for path, kind in (("runs/log-parameter", "params"), ("runs/set-tag", "tags")):
        assert project.post(path, run_id=run_id, key="k", value="1").status_code == 200
        for value in ("1", "2"):
            refused = project.post(path, run_id=run_id, key="k", value=value)
            assert (refused.status_code, refused.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
        assert project.data(run_id)[kind]["k"] == "1"
    tag = {"experiment_id": "1", "key": "k", "value": "1"}
    assert [project.post("experiments/set-experiment-tag", **tag).status_code for _ in range(2)] == [200, 400]


def test_a_batch_ignores_what_is_there_already(project):
    run_id = project.run()
    project.post("runs/log-parameter", run_id=run_id, key="p", value="1")
    pairs = [{"key": "p", "value": "2"}, {"key": "q", "value": "first"}, {"key": "q", "value": "second"}]
    assert project.post("runs/log-batch", run_id=run_id, params=pairs, tags=pairs).json() == {}
    assert project.data(run_id)["params"] == {"p": "1", "q": "first"}
    assert {key: project.data(run_id)["tags"][key] for key in "pq"} == {"p": "2", "q": "first"}


@pytest.mark.parametrize(
    "bad",
    [
        {"metrics": [{"key": "m", "value": "NaN", "timestamp": 1}]},
        {"metrics": [{"key": "m", "value": 1}]},
        {"params": [{"key": "p"}]},
        {"params": [{"key": "p", "value": "x" * 251}]},
        {"tags": [{"key": "t", "value": "x" * 5001}]},
    ],
)
def test_one_bad_item_refuses_the_batch(project, bad):
    run_id = project.run()
    good = {
        "metrics": [{"key": "good", "value": 1, "timestamp": 1}],
        "params": [{"key": "good", "value": "1"}],
        "tags": [{"key": "good", "value": "1"}],
    }
    batch = {kind: items + bad.get(kind, []) for kind, items in good.items()}
    assert project.post("runs/log-batch", run_id=run_id, **batch).status_code == 400
    data = project.data(run_id)
    assert (data["metrics"], data["params"], "good" in data["tags"]) == ({}, {}, False)


def test_a_batch_may_be_longer_than_mlflow_allows(project):
    run_id = project.run()
    metrics = [{"key": "m", "value": i, "timestamp": i, "step": i} for i in range(2500)]
    params = [{"key": f"p{i}", "value": "1"} for i in range(250)]
    assert project.post("runs/log-batch", run_id=run_id, metrics=metrics, params=params, tags=params).json() == {}
    assert len(project.data(run_id)["params"]) == 250
    history = project.get("metrics/get-history", run_id=run_id, metric_key="m").json()
    assert len(history["metrics"]) == 1000
    rest = project.get("metrics/get-history", run_id=run_id, metric_key="m", page_token=history["next_page_token"])
    assert rest.json()["metrics"][0]["step"] == 1000


def test_runs_of_one_experiment_are_listed_in_the_order_asked_for(project):
    experiment = int(project.experiment())
    for name, loss in (("a", 2), ("b", 3), ("c", 1)):
        run_id = project.run(experiment, run_name=name, start_time=ord(name))
        project.post("runs/log-metric", run_id=run_id, key="loss", value=loss, timestamp=1)

    def names(**query):
        found = project.post("runs/search", experiment_ids=["1"], **query).json()["runs"]
        return "".join(run["info"]["run_name"] for run in found)

    assert [names(), names(order_by="name ASC"), names(order_by="metrics.loss DESC")] == ["cba", "abc", "bac"]
    assert names(filter="ignored") == "cba"
    first = project.post("runs/search", experiment_ids=["1"], max_results=2).json()
    second = project.post("runs/search", experiment_ids=["1"], max_results=2, page_token=first["next_page_token"])
    assert [len(first["runs"]), len(second.json()["runs"])] == [2, 1]
    assert project.post("runs/search", experiment_ids=["1", "2"]).status_code == 400
    assert project.post("runs/search", experiment_ids=["7"]).status_code == 404


def test_experiments_are_listed_some_at_a_time(project):
    for name in "bca":
        project.experiment(name)

    def names(**query):
        return [each["name"] for each in project.post("experiments/search", **query).json()["experiments"]]

    assert [names(), names(order_by="name ASC"), names(order_by="created_at ASC")] == [
        list("acb"),
        list("abc"),
        list("bca"),
    ]
    first = project.post("experiments/search", max_results=2).json()
    assert names(max_results=2, page_token=first["next_page_token"]) == ["b"]
    assert project.post("experiments/search", order_by="size").status_code == 400


@pytest.mark.parametrize(
    "path", ["runs/restore", "runs/delete-tag", "runs/log-inputs", "experiments/update", "artifacts/list"]
)
def test_what_gitlab_lacks_is_not_found(project, path):
    assert project.post(path, run_id="x").status_code == 404


def test_our_own_client_takes_it_for_gitlab(project):
    with open_rest_store(RestConfig(project.uri)) as store:
        able = store.capabilities
        assert (able.search_filters, able.delete_tag) == (False, False)
        experiment = store.create_experiment("first")
        run = store.create_run(experiment, run_name="a run", tags=[Tag("a", "1")])
        store.set_tag(run.info.run_id, Tag("a", "2"))
        assert Tag("a", "1") in store.get_run(run.info.run_id).data.tags


@pytest.mark.timeout(180)
def test_the_mlflow_client_works_as_it_does_with_gitlab(project, tmp_path):
    environment = {**os.environ, **CALM, "MLFLOW_TRACKING_URI": project.uri}
    run_python(str(SESSION), cwd=tmp_path, env=environment, loaded="mlflow")
