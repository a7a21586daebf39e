"""A failing remote tracking server does not affect a training, and receives everything once in the end.

Each story compares the numbers at the end, those of the container with those of the remote, point by point.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mistk_service.resources import plugins_path
from tests.service.conftest import Start
from tests.service.harness import MODELS, REQUEST_TIMEOUT, Service, wait_delivered, wait_until
from tests.service.models.reporting import value_at
from tests.service.test_remotes import wait_for_remote
from tests.service.test_runs import settled_run
from tests.support.harness import Gate
from tests.support.remotes import MlflowServer, Proxy, answer, proxy_to

REPORTING = f"{MODELS / 'reporting.py'}:Reporting"

pytestmark = pytest.mark.timeout(180)


class Api:
    """What a tracking server has of the runs of the experiment that the container writes to."""

    def __init__(self, url: str, experiment: str = "Reporting") -> None:
        self._base = f"{url}/api/2.0"
        self._experiment = experiment

    def get(self, path: str, /, **query: Any) -> Any:
        response = httpx.get(f"{self._base}/{path}", params=query, timeout=REQUEST_TIMEOUT)
        assert response.status_code == 200, response.text
        return response.json()

    def runs(self) -> list[dict[str, Any]]:
        """Return the container's runs, as they are found by the name of its experiment; none where there is no such."""
        found = httpx.get(
            f"{self._base}/mlflow/experiments/get-by-name",
            params={"experiment_name": self._experiment},
            timeout=REQUEST_TIMEOUT,
        )
        if found.status_code == 404:
            return []
        ids = [found.json()["experiment"]["experiment_id"]]
        response = httpx.post(f"{self._base}/mlflow/runs/search", json={"experiment_ids": ids}, timeout=REQUEST_TIMEOUT)
        assert response.status_code == 200, response.text
        return response.json().get("runs", [])

    def points(self, run_id: str, key: str) -> list[tuple[Any, ...]]:
        """Return the history of a metric, in the server's order."""
        found: list[tuple[Any, ...]] = []
        token = ""
        while True:
            query = {"run_id": run_id, "metric_key": key, "max_results": 25_000}
            page = self.get("mlflow/metrics/get-history", **query, **({"page_token": token} if token else {}))
            found += [(p["step"], str(p["value"]), p["timestamp"]) for p in page.get("metrics", [])]
            token = page.get("next_page_token", "")
            if not token:
                return found

    def artifacts(self, run_id: str, path: str = "") -> dict[str, int]:
        """Return the sizes of a run's files, by path."""
        found: dict[str, int] = {}
        for file in self.get("mlflow/artifacts/list", run_id=run_id, **({"path": path} if path else {})).get(
            "files", []
        ):
            if file["is_dir"]:
                found |= self.artifacts(run_id, file["path"])
            else:
                found[file["path"]] = int(file["file_size"])
        return found


def story(url: str, experiment: str = "Reporting") -> list[dict[str, Any]]:
    """Return everything that a server knows of the container's runs, without what each server chooses itself."""
    api = Api(url, experiment)
    told = []
    for run in sorted(api.runs(), key=lambda run: run["info"]["start_time"]):
        info, data = run["info"], run["data"]
        keys = sorted(metric["key"] for metric in data.get("metrics", []))
        told.append(
            {
                "name": info["run_name"],
                "user": info["user_id"],
                "status": info["status"],
                "start": info["start_time"],
                "end": info.get("end_time"),
                "latest": sorted(
                    (m["key"], str(m["value"]), m["step"], m["timestamp"]) for m in data.get("metrics", [])
                ),
                "history": {key: sorted(api.points(info["run_id"], key)) for key in keys},
                "params": {p["key"]: p["value"] for p in data.get("params", [])},
                "tags": {t["key"]: t["value"] for t in data["tags"] if t["key"] != "mistk.sourceRunId"},
                "inputs": run["inputs"],
                "artifacts": api.artifacts(info["run_id"]),
            }
        )
    return told


def assert_equal(service: Service, remote_url: str, experiment: str = "Reporting") -> dict[str, Any]:
    """Assert that the remote has exactly what the container has; return the one run that there is."""
    ours, theirs = story(service.url, experiment), story(remote_url, experiment)
    assert theirs == ours
    (run,) = ours
    return run


def assert_points(run: dict[str, Any], count: int) -> None:
    """Assert that the run has each of the first ``count`` points that the model reports, once, and nothing else."""
    found = [(step, value) for step, value, _ in run["history"]["loss"]]
    expected = [(step, "NaN" if math.isnan(value_at(step)) else str(value_at(step))) for step in range(count)]
    assert found == expected


def train(service: Service, gate: Gate | None = None, *, points: int, stop: tuple[int, ...] = ()) -> dict[str, Any]:
    """Begin a training; return the status with which it was accepted."""
    settings = {"points": points, "stop": list(stop), "gate": str(gate.path) if gate else None}
    service.make_ready(**settings)
    return service.post("train")


def wait_at(service: Service, step: int, since: dict[str, Any]) -> None:
    """Wait until the training stands still at a step."""
    service.wait(lambda status: status["payload"].get("at") == step, since)


def wait_trained(service: Service, since: dict[str, Any]) -> None:
    """Wait until the training has ended well, and all of it is in the container's own store."""
    ended = service.wait(lambda s: s["state"] in ("ready", "failed"), since)
    assert ended["state"] == "ready", ended
    settled_run(service)


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A real MLflow server, with nothing of the container in it yet; every test leaves it running."""
    with MlflowServer(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture
def far(start: Start, tmp_path: Path) -> Iterator[Proxy]:
    """A tracking server of ours in another place, behind a proxy that forwards."""
    other = start("--state-dir", str(tmp_path / "far"))
    # Its store is opened in the background.
    assert httpx.get(f"{other.url}/health", timeout=REQUEST_TIMEOUT).text == "OK"
    with proxy_to(other.url) as proxy:
        yield proxy


@pytest.fixture
def container(start: Start) -> Callable[[str], Service]:
    """Start a container of the reporting model that names a remote."""
    return lambda url: start("--tracking-uri", url, "--grace", "3", model=REPORTING)


Container = Callable[[str], Service]

#: What a server, or what is before it, may do for a while.
TROUBLES: tuple[str | bytes, ...] = (
    "cut",
    answer("503 Service Unavailable", "Retry-After: 1", body='{"message": "busy"}'),
    answer("429 Too Many Requests", "Retry-After: 1"),
    answer("502 Bad Gateway", body="<html>"),
    answer("401 Unauthorized", body='{"error_code": "UNAUTHENTICATED"}'),
)


def test_a_remote_that_is_down_from_the_start_gets_everything_when_it_comes(
    container: Container, far: Proxy, tmp_path: Path
) -> None:
    far.become("gone")
    service = container(far.url)
    wait_trained(service, train(service, points=2000))
    remote = wait_for_remote(service, lambda remote: remote["depth"] > 0 and "lastError" in remote)
    assert remote["connected"] is False

    far.become("pass")
    wait_delivered(tmp_path / "mistk-state")

    run = assert_equal(service, far.url)
    assert_points(run, 2000)
    assert (run["status"], run["tags"]["finished"], run["params"]["optimizer"]) == ("FINISHED", "yes", "none")
    assert "notes/result.txt" in run["artifacts"]


@pytest.mark.timeout(400)
def test_mlflows_server_killed_amid_thousands_of_points_has_every_one_of_them_once(
    container: Container, mlflow: MlflowServer, gate: Gate, tmp_path: Path
) -> None:
    service = container(mlflow.url)
    begun = train(service, gate, points=6_000, stop=(2_000, 4_000))
    wait_at(service, 2_000, begun)
    # Something has arrived, so that it is the middle.
    wait_until(lambda: any(run["data"].get("metrics") for run in Api(mlflow.url).runs()))
    gate.tell("g")
    mlflow.kill()
    wait_at(service, 4_000, begun)
    gate.tell("g")
    wait_trained(service, begun)

    mlflow.start()
    wait_delivered(tmp_path / "mistk-state")

    assert_points(assert_equal(service, mlflow.url), 6_000)


def test_the_digits_are_the_same_run_at_mlflow_though_its_server_was_away(
    start: Start, mlflow: MlflowServer, tmp_path: Path
) -> None:
    digits = plugins_path() / "digits"
    service = start("--tracking-uri", mlflow.url, model=f"{digits / 'model.py'}:Digits")
    service.do("initialize", {"objectives": ["training"], "hyperparameters": {"epochs": 200}})
    names = ("train", "test")
    service.do("loadData", {name: {"dataPath": str(digits / "data" / f"{name}.csv")} for name in names})
    service.do("buildModel")
    begun = service.post("train")
    paused = service.do("pause")
    assert paused["state"] == "paused"
    wait_until(lambda: Api(mlflow.url, "Digits").runs())
    mlflow.kill()
    service.do("saveModel", modelPath=str(tmp_path / "model"))
    service.post("resumeTraining")
    wait_trained(service, begun)
    service.do("predict")
    service.do("savePredictions", dataPath=str(tmp_path / "predictions"))
    wait_trained(service, service.status())

    mlflow.start()
    wait_delivered(tmp_path / "mistk-state")

    run = assert_equal(service, mlflow.url, "Digits")
    assert run["status"] == "FINISHED"
    assert run["params"]["epochs"] == "200"
    assert {"model/digits.npz", "predictions/predictions.csv"} <= run["artifacts"].keys()
    assert len(run["inputs"]["dataset_inputs"]) == 2


def test_a_remote_that_never_answers_stops_neither_the_training_nor_the_end(
    container: Container, far: Proxy, tmp_path: Path
) -> None:
    far.become("hang")
    first = container(far.url)
    wait_trained(first, train(first, points=2000))
    far.wait_asked()
    first.post("shutdown")
    assert first.wait_exit() == 0
    assert "remain to be forwarded" in first.output()

    far.become("pass")
    second = container(far.url)
    second.wait(lambda s: "store" in s["payload"].get("tracking", {}), second.status())
    wait_delivered(tmp_path / "mistk-state")

    run = assert_equal(second, far.url)
    assert_points(run, 2000)
    assert run["status"] == "FINISHED"


def test_a_service_killed_amid_a_training_continues_delivering_after_its_restart(
    container: Container, far: Proxy, gate: Gate, tmp_path: Path
) -> None:
    first = container(far.url)
    begun = train(first, gate, points=20_000, stop=(10_000,))
    wait_at(first, 10_000, begun)
    # The model may be faster than the store is opened.
    wait_until(lambda: Api(first.url).runs())
    (run,) = Api(first.url).runs()
    wait_until(lambda: len(Api(first.url).points(run["info"]["run_id"], "loss")) > 2_000)
    known = Api(first.url).points(run["info"]["run_id"], "loss")
    first.signal(signal.SIGKILL)
    first.wait_exit()

    second = container(far.url)
    wait_until(lambda: Api(second.url).runs()[0]["info"]["status"] != "RUNNING")
    wait_delivered(tmp_path / "mistk-state")

    run = assert_equal(second, far.url)
    assert run["status"] == "FAILED"
    assert "mistk.failure" in run["tags"]
    kept = len(run["history"]["loss"])
    assert len(known) <= kept <= 10_000
    assert_points(run, kept)


def test_troubles_that_pass_leave_no_gap_and_nothing_twice(
    container: Container, far: Proxy, gate: Gate, tmp_path: Path
) -> None:
    stops = tuple(range(1000, 1000 * (len(TROUBLES) + 2), 1000))
    service = container(far.url)
    begun = train(service, gate, points=stops[-1] + 1000, stop=stops)
    wait_at(service, stops[0], begun)
    for trouble, stop in zip(TROUBLES, stops[1:], strict=True):
        far.become(trouble)
        gate.tell("g")
        far.wait_asked()
        wait_at(service, stop, begun)
        far.become("pass")
        wait_delivered(tmp_path / "mistk-state")
    gate.tell("g")
    wait_trained(service, begun)
    wait_delivered(tmp_path / "mistk-state")

    assert_points(assert_equal(service, far.url), stops[-1] + 1000)


def test_a_name_that_nobody_knows_costs_the_training_nothing(container: Container) -> None:
    service = container("http://tracking.invalid:5000")
    wait_trained(service, train(service, points=100))

    remote = wait_for_remote(service, lambda remote: "lastError" in remote)

    assert "tracking.invalid" in remote["lastError"]
    (run,) = story(service.url)
    assert_points(run, 100)
