"""The tracking server inside a container: on the same port, independent of the model, and kept over a restart."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.service.conftest import Start
from tests.service.harness import REQUEST_TIMEOUT, Service


class Tracking:
    """MLflow's REST API of a service, as plain HTTP."""

    def __init__(self, service: Service, prefix: str = "/api/2.0/mlflow") -> None:
        self._base = service.url + prefix

    def get(self, path: str, **query: str) -> httpx.Response:
        return httpx.get(f"{self._base}/{path}", params=query, timeout=REQUEST_TIMEOUT)

    def post(self, path: str, **body: object) -> httpx.Response:
        return httpx.post(f"{self._base}/{path}", json=body, timeout=REQUEST_TIMEOUT)

    def begin_run(self) -> str:
        """Begin a run in the default experiment and return its id."""
        response = self.post("runs/create", experiment_id="0", start_time=1)
        assert response.status_code == 200, response.text
        run_id: str = response.json()["run"]["info"]["run_id"]
        return run_id


def test_a_container_serves_a_tracking_store_on_its_own_port(start: Start, tmp_path: Path) -> None:
    service = start()
    tracking = Tracking(service)
    run_id = tracking.begin_run()
    assert (
        tracking.post("runs/log-metric", run_id=run_id, key="loss", value=0.5, timestamp=1, step=3).status_code == 200
    )

    run = tracking.get("runs/get", run_id=run_id).json()["run"]

    assert run["data"]["metrics"] == [{"key": "loss", "value": 0.5, "timestamp": 1, "step": 3}]
    assert (tmp_path / "mistk-state" / "tracking.db").is_file()
    assert httpx.get(f"{service.url}/health", timeout=REQUEST_TIMEOUT).text == "OK"


def test_the_spellings_of_older_clients_and_of_pages_reach_it_too(service: Service) -> None:
    for prefix in ("/api/2.0/preview/mlflow", "/ajax-api/2.0/mlflow"):
        found = Tracking(service, prefix).get("experiments/get", experiment_id="0")
        assert found.json()["experiment"]["name"] == "Default", prefix


def test_an_artifact_may_be_larger_than_the_limit_on_bodies(start: Start) -> None:
    service = start("--max-body", "1000")
    run_id = Tracking(service).begin_run()
    url = f"{service.url}/api/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts/weights.bin"
    weights = bytes(range(256)) * 1000

    assert httpx.put(url, content=weights, timeout=REQUEST_TIMEOUT).status_code == 200

    assert httpx.get(url, timeout=REQUEST_TIMEOUT).content == weights


def test_what_was_tracked_is_there_after_a_restart(start: Start) -> None:
    first = start()
    run_id = Tracking(first).begin_run()
    first.post("shutdown")
    assert first.process.wait(REQUEST_TIMEOUT) == 0

    run = Tracking(start()).get("runs/get", run_id=run_id)

    assert run.json()["run"]["info"]["run_id"] == run_id


def test_what_was_tracked_is_there_after_kill_9(start: Start) -> None:
    first = start()
    run_id = Tracking(first).begin_run()
    first.process.kill()
    first.process.wait(REQUEST_TIMEOUT)

    assert Tracking(start()).get("runs/get", run_id=run_id).status_code == 200


def test_two_containers_may_share_a_state_directory(start: Start) -> None:
    one, other = start(), start()

    run_id = Tracking(one).begin_run()

    assert Tracking(other).get("runs/get", run_id=run_id).status_code == 200


def test_a_store_that_cannot_be_opened_costs_the_model_nothing_and_is_tried_again(start: Start, tmp_path: Path) -> None:
    in_the_way = tmp_path / "mistk-state" / "tracking.db"
    in_the_way.mkdir(parents=True)
    service = start()

    refused = Tracking(service).get("experiments/get", experiment_id="0")
    service.make_ready()

    assert refused.status_code == 503
    assert refused.json()["error_code"] == "TEMPORARILY_UNAVAILABLE"
    assert "is a folder" in refused.json()["message"]
    in_the_way.rmdir()
    assert Tracking(service).get("experiments/get", experiment_id="0").status_code == 200


@pytest.mark.parametrize("option", ["--state-dir", "MISTK_STATE_DIR"])
def test_the_state_directory_is_where_one_wants_it(start: Start, tmp_path: Path, option: str) -> None:
    folder = tmp_path / "elsewhere" / "state"
    service = start(option, str(folder)) if option.startswith("--") else start(env={option: str(folder)})

    Tracking(service).begin_run()

    assert (folder / "tracking.db").is_file()
    assert not (tmp_path / "mistk-state").exists()


def test_the_store_is_where_the_uri_says(start: Start, tmp_path: Path) -> None:
    service = start("--tracking-uri", f"sqlite:///{tmp_path / 'my.db'}")

    Tracking(service).begin_run()

    assert (tmp_path / "my.db").is_file()


def test_the_uri_of_a_server_in_the_environment_does_not_keep_a_container_from_its_own_store(start: Start) -> None:
    service = start(env={"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"})

    Tracking(service).begin_run()


def test_without_tracking_its_paths_are_nobodys(start: Start, tmp_path: Path) -> None:
    service = start("--no-tracking")

    answer = Tracking(service).get("experiments/get", experiment_id="0")

    assert answer.status_code == 404
    assert answer.json()["code"] == 404
    assert not (tmp_path / "mistk-state").exists()


def test_the_limit_on_bodies_holds_for_the_tracking_server_too(start: Start) -> None:
    tracking = Tracking(start("--max-body", "1000"))
    assert tracking.post("runs/create", experiment_id="0", tags=[{"key": "k", "value": "v" * 1000}]).status_code == 413
