"""The requests of two descriptions of MLflow's REST API, as plain HTTP."""

import time

import pytest

BASE = "/api/2.0/mlflow"


@pytest.fixture
def experiment_id(api):
    return api.experiment()


class TestTheWalkthrough:
    """A tutorial's functions, each with the payload that it sends and the fields that it reads."""

    def test_create_run(self, http, experiment_id):
        payload = {"experiment_id": experiment_id, "start_time": int(time.time() * 1000), "user_id": "somebody"}
        response = http.post(f"{BASE}/runs/create", json=payload)
        info = response.json()["run"]["info"]
        assert response.status_code == 200
        assert len(info["run_uuid"]) == 32
        assert info["run_id"] == info["run_uuid"]
        assert {key: info[key] for key in payload} == payload
        assert (info["status"], info["lifecycle_stage"]) == ("RUNNING", "active")
        assert info["artifact_uri"] == f"mlflow-artifacts:/{experiment_id}/{info['run_id']}/artifacts"

    def test_get_run(self, http, run_id):
        run = http.get(f"{BASE}/runs/get", params={"run_id": run_id}).json()["run"]
        assert run["info"]["run_id"] == run_id
        assert [tag["key"] for tag in run["data"]["tags"]] == ["mlflow.runName"]
        assert (run["inputs"], run["outputs"]) == ({}, {})

    def test_create_experiment_with_optional_fields_null(self, http, api):
        payload = {"name": "walkthrough null", "artifact_location": None, "tags": None}
        response = http.post(f"{BASE}/experiments/create", json=payload)
        found = api.get("experiments/get", experiment_id=response.json()["experiment_id"])["experiment"]
        assert found["name"] == "walkthrough null"
        assert found["artifact_location"] == f"mlflow-artifacts:/{found['experiment_id']}"
        assert "tags" not in found

    def test_create_experiment_that_is_there(self, http, api):
        api.experiment("walkthrough twice")
        response = http.post(f"{BASE}/experiments/create", json={"name": "walkthrough twice"})
        assert response.status_code == 400
        assert response.json()["error_code"] == "RESOURCE_ALREADY_EXISTS"

    def test_list_experiments(self, http, experiment_id):
        response = http.get(f"{BASE}/experiments/list")
        ids = [experiment["experiment_id"] for experiment in response.json()["experiments"]]
        assert response.status_code == 200
        assert {"0", experiment_id} <= set(ids)

    def test_get_experiment_by_id_and_by_name(self, http, api):
        experiment_id = api.experiment("walkthrough by name")
        by_id = http.get(f"{BASE}/experiments/get", params={"experiment_id": experiment_id}).json()["experiment"]
        by_name = http.get(f"{BASE}/experiments/get-by-name", params={"experiment_name": "walkthrough by name"})
        assert by_name.json()["experiment"] == by_id
        assert by_id["lifecycle_stage"] == "active"

    def test_set_tag_param_and_metric(self, http, api, run_id):
        pair = {"run_id": run_id, "key": "precision", "value": "0.769"}
        assert http.post(f"{BASE}/runs/set-tag", json=pair).status_code == 200
        assert http.post(f"{BASE}/runs/log-parameter", json=pair).status_code == 200
        # The value of the metric is sent as text.
        metric = {**pair, "timestamp": 1552550804000, "step": 0}
        assert http.post(f"{BASE}/runs/log-metric", json=metric).status_code == 200
        data = api.get("runs/get", run_id=run_id)["run"]["data"]
        assert {"key": "precision", "value": "0.769"} in data["tags"]
        assert data["params"] == [{"key": "precision", "value": "0.769"}]
        assert data["metrics"] == [{"key": "precision", "value": 0.769, "timestamp": 1552550804000, "step": 0}]

    def test_log_batch(self, http, api, run_id):
        batch = {
            "run_id": run_id,
            "metrics": [
                {"key": "mae", "value": 2.5, "timestamp": 1552550804},
                {"key": "rmse", "value": 2.7, "timestamp": 1552550804},
            ],
            "params": [{"key": "model_class", "value": "LogisticRegression"}],
        }
        response = http.post(f"{BASE}/runs/log-batch", json=batch)
        data = api.get("runs/get", run_id=run_id)["run"]["data"]
        assert (response.status_code, response.json()) == (200, {})
        assert [(point["key"], point["value"]) for point in data["metrics"]] == [("mae", 2.5), ("rmse", 2.7)]
        assert data["params"] == batch["params"]

    def test_log_batch_without_a_timestamp_is_refused_whole(self, http, api, run_id):
        batch = {
            "run_id": run_id,
            "metrics": [{"key": "mse", "value": "0.769"}],
            "params": [{"key": "p", "value": "1"}],
        }
        response = http.post(f"{BASE}/runs/log-batch", json=batch)
        assert response.status_code == 400
        assert "metrics[0].timestamp" in response.json()["message"]
        assert "params" not in api.get("runs/get", run_id=run_id)["run"]["data"]


class TestGitLabsApi:
    """The operations that GitLab has for MLflow clients, with its parameters."""

    def test_create(self, http, experiment_id):
        payload = {
            "experiment_id": experiment_id,
            "start_time": 1234,
            "user_id": "ignored there",
            "tags": [{"key": "t", "value": "1"}],
            "run_name": "candidate",
        }
        run = http.post(f"{BASE}/runs/create", json=payload).json()["run"]
        assert (run["info"]["run_name"], run["info"]["start_time"]) == ("candidate", 1234)
        assert {"key": "t", "value": "1"} in run["data"]["tags"]

    def test_create_without_a_start_time_starts_at_0(self, http, experiment_id):
        run = http.post(f"{BASE}/runs/create", json={"experiment_id": experiment_id}).json()["run"]
        assert run["info"]["start_time"] == 0
        assert "end_time" not in run["info"]

    def test_get_with_both_names_of_the_id(self, http, run_id):
        response = http.get(f"{BASE}/runs/get", params={"run_id": run_id, "run_uuid": run_id})
        assert response.json()["run"]["info"]["run_id"] == run_id

    @pytest.mark.parametrize("status", ["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"])
    def test_update(self, http, run_id, status):
        payload = {"run_id": run_id, "status": status, "end_time": 1701}
        info = http.post(f"{BASE}/runs/update", json=payload).json()["run_info"]
        assert (info["status"], info["end_time"]) == (status, 1701)

    def test_log_metric_several_times(self, http, api, run_id):
        for step, value in enumerate([0.5, 0.25, 0.125]):
            point = {"run_id": run_id, "key": "loss", "value": value, "timestamp": 100 + step, "step": step}
            assert http.post(f"{BASE}/runs/log-metric", json=point).json() == {}
        history = api.get("metrics/get-history", run_id=run_id, metric_key="loss")["metrics"]
        assert [(point["step"], point["value"]) for point in history] == [(0, 0.5), (1, 0.25), (2, 0.125)]

    def test_log_parameter_once(self, http, run_id):
        payload = {"run_id": run_id, "key": "p", "value": "1"}
        assert http.post(f"{BASE}/runs/log-parameter", json=payload).status_code == 200
        assert http.post(f"{BASE}/runs/log-parameter", json=payload).status_code == 200
        changed = http.post(f"{BASE}/runs/log-parameter", json={**payload, "value": "2"})
        assert changed.status_code == 400
        assert changed.json()["message"].startswith("Changing param values is not allowed.")

    def test_set_tag(self, http, api, run_id):
        for value in ("first", "second"):
            assert http.post(f"{BASE}/runs/set-tag", json={"run_id": run_id, "key": "t", "value": value}).json() == {}
        assert {"key": "t", "value": "second"} in api.get("runs/get", run_id=run_id)["run"]["data"]["tags"]

    def test_log_batch_with_nothing_in_it(self, http, run_id):
        batch = {"run_id": run_id, "metrics": [], "params": [], "tags": None}
        assert http.post(f"{BASE}/runs/log-batch", json=batch).json() == {}
