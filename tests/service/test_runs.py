"""The work of a container is recorded as runs in its store, over HTTP and with real workers."""

from __future__ import annotations

import base64
import signal
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from mistk_service.resources import plugins_path
from tests.service.conftest import Start
from tests.service.harness import REQUEST_TIMEOUT, Service, wait_until

MLFLOW = "/api/2.0/mlflow"


def begun(service: Service, operation: str = "train", **hyperparameters: Any) -> dict[str, Any]:
    """Make the service ready, begin an activity, and return the status that shows its run when the store has it."""
    service.make_ready(**hyperparameters)
    return service.wait(lambda s: "experimentId" in run_in(s), service.post(operation))


def run_in(status: dict[str, Any]) -> dict[str, Any]:
    """The run that a status shows, if it shows one."""
    found: dict[str, Any] = status["payload"].get("run", {})
    return found


def settled_run(service: Service, status: str = "FINISHED") -> dict[str, Any]:
    """Wait until all that has happened is written and the run stands so; return it as the tracking server has it."""
    service.wait_for_metric("mistk_reporter_waiting", 0)
    found = service.wait(lambda s: run_in(s).get("status") == status, service.status())
    return get_run(service, run_in(found)["id"])


def get_run(service: Service, run_id: str) -> dict[str, Any]:
    """Return a run as the tracking server has it."""
    response = httpx.get(f"{service.url}{MLFLOW}/runs/get", params={"run_id": run_id}, timeout=REQUEST_TIMEOUT)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()["run"]
    return found


def values(run: dict[str, Any], part: str) -> dict[str, Any]:
    """The metrics, params or tags of a run by key."""
    return {item["key"]: item["value"] for item in run["data"].get(part, [])}


def steps_of(service: Service, run_id: str) -> list[int]:
    """The steps of the points of the metric that the obedient model reports."""
    found = httpx.get(
        f"{service.url}{MLFLOW}/metrics/get-history",
        params={"run_id": run_id, "metric_key": "loss"},
        timeout=REQUEST_TIMEOUT,
    )
    return sorted(point["step"] for point in found.json().get("metrics", []))


def create_run(service: Service) -> str:
    """Create a run, as a script would, and return its id."""
    response = httpx.post(
        f"{service.url}{MLFLOW}/runs/create", json={"experiment_id": "0", "start_time": 1}, timeout=REQUEST_TIMEOUT
    )
    run_id: str = response.json()["run"]["info"]["run_id"]
    return run_id


def test_the_digits_leave_a_run_with_all_that_belongs_to_it(start: Start, tmp_path: Path) -> None:
    digits = plugins_path() / "digits"
    service = start(model=f"{digits / 'model.py'}:Digits")
    hyperparameters = {"epochs": 3, "seed": 1}
    service.do("initialize", {"objectives": ["training"], "hyperparameters": hyperparameters})
    datasets = {
        name: {"dataPath": str(digits / "data" / f"{name}.csv"), "objectInfo": {"name": name, "kind": "MistkDataset"}}
        for name in ("train", "test")
    }
    service.do("loadData", datasets)
    service.do("buildModel")
    service.do("train")
    service.do("saveModel", modelPath=str(tmp_path / "model"))
    service.do("predict")
    service.do("savePredictions", dataPath=str(tmp_path / "predictions"))

    run = settled_run(service)

    assert values(run, "params").items() >= {"epochs": "3", "seed": "1", "hidden": "128"}.items()
    metrics = values(run, "metrics")
    assert metrics.keys() >= {"loss", "accuracy", "test_accuracy", "mistk/train_seconds", "mistk/predict_count"}
    history = service.api.get(
        f"{service.url}{MLFLOW}/metrics/get-history", params={"run_id": run["info"]["run_id"], "metric_key": "loss"}
    ).json()["metrics"]
    assert [point["step"] for point in history] == [1, 2, 3]
    inputs = run["inputs"]["dataset_inputs"]
    assert [use["dataset"]["name"] for use in inputs] == ["train", "test"]
    assert values(run, "tags")["mistk.modelClass"] == "Digits"
    root = f"{service.url}/api/2.0/mlflow-artifacts/artifacts/{run['info']['artifact_uri'].partition(':/')[2]}"
    saved = httpx.get(f"{root}/model/digits.npz", timeout=REQUEST_TIMEOUT).content
    assert saved == (tmp_path / "model" / "digits.npz").read_bytes()
    assert httpx.get(f"{root}/predictions/predictions.csv", timeout=REQUEST_TIMEOUT).status_code == 200


def stored(service: Service, run_id: str) -> dict[str, Any]:
    """Return a run of the store."""
    run: dict[str, Any] = service.api.get(f"{service.url}/api/2.0/mlflow/runs/get", params={"run_id": run_id}).json()[
        "run"
    ]
    return run


def test_the_status_names_the_run_and_a_link_to_it(start: Start) -> None:
    service = start()
    shown = run_in(begun(service, train="steps_for_ever"))

    linked = stored(service, shown["id"])["info"]

    assert shown["link"] == f"/#/runs/{shown['id']}"
    assert (linked["run_id"], linked["run_name"]) == (shown["id"], shown["name"])
    assert (linked["experiment_id"], linked["status"]) == (shown["experimentId"], "RUNNING")
    assert service.status()["payload"]["tracking"]["store"].endswith("/mistk-state/tracking.db")


def test_the_status_that_begins_or_ends_an_operation_names_the_run_as_it_stands_then(start: Start) -> None:
    service = start()
    service.make_ready()

    answer = service.post("train")
    ended = service.wait_for_state("ready", answer)

    assert run_in(answer)["status"] == "RUNNING"
    assert (run_in(ended)["id"], run_in(ended)["status"]) == (run_in(answer)["id"], "FINISHED")
    # A request for the run waits until it is written.
    assert stored(service, run_in(answer)["id"])["info"]["run_id"] == run_in(answer)["id"]


@pytest.mark.parametrize("operation", ["train", "predict", "generate"])
def test_each_kind_of_work_is_tracked(start: Start, operation: str) -> None:
    service = start()
    service.make_ready()
    service.do(operation)

    assert values(settled_run(service), "metrics")[f"mistk/{operation}_count"] == 1


def test_a_paused_training_stays_running_and_ends_as_one(start: Start) -> None:
    service = start()
    run_id = run_in(begun(service, train="steps_for_ever"))["id"]
    paused = service.wait_for_state("paused", service.post("pause"))
    assert get_run(service, run_id)["info"]["status"] == "RUNNING"
    service.wait_for_state("training", service.post("resumeTraining"))

    assert run_in(paused)["status"] == "RUNNING"
    service.wait_for_state("started", service.post("reset"))
    service.wait(lambda s: "run" not in s["payload"], service.status())
    assert get_run(service, run_id)["info"]["status"] == "KILLED"


def test_a_failed_training_is_a_failed_run_that_says_why(start: Start) -> None:
    service = start()
    service.make_ready(train="raise")
    service.do("train")

    run = settled_run(service, "FAILED")

    assert values(run, "tags")["mistk.failure"].startswith("ValueError: the model was told to raise")


def test_a_worker_that_is_killed_leaves_a_failed_run(start: Start) -> None:
    service = start()
    begun(service, train="steps_for_ever")

    service.worker().kill()

    run = settled_run(service, "FAILED")
    assert "SIGKILL" in values(run, "tags")["mistk.failure"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_that_is_asked_to_exit_leaves_a_killed_run(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    service = start("--state-dir", str(tmp_path / "state"))
    run_id = run_in(begun(service, train="steps_for_ever"))["id"]

    service.signal(number)

    assert service.wait_exit() == 0
    assert get_run(start("--state-dir", str(tmp_path / "state")), run_id)["info"]["status"] == "KILLED"
    assert service.lines[-1].endswith("shutdown ended; the worker has exited.")


def test_a_service_that_is_killed_leaves_a_run_that_the_next_one_ends(start: Start, tmp_path: Path) -> None:
    service = start("--state-dir", str(tmp_path / "state"))
    run_id = run_in(begun(service, train="steps_for_ever"))["id"]
    service.process.kill()
    service.process.wait(REQUEST_TIMEOUT)

    other = start("--state-dir", str(tmp_path / "state"))
    other.wait_for_line("is marked as failed")

    run = get_run(other, run_id)
    assert run["info"]["status"] == "FAILED"
    assert run["info"]["end_time"] > 0
    assert values(run, "tags")["mistk.failure"].startswith("ContainerKilled: ")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_was_reported_until_the_end_is_there_once_and_without_gaps(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    service = start("--state-dir", str(tmp_path / "state"))
    run_id = run_in(begun(service, train="report_for_ever"))["id"]
    wait_until(lambda: len(steps_of(service, run_id)) >= 300)

    service.signal(number)
    service.process.wait(REQUEST_TIMEOUT)

    other = start("--state-dir", str(tmp_path / "state"))
    if number is signal.SIGKILL:
        other.wait_for_line("is marked as failed")
    steps = steps_of(other, run_id)
    assert steps == list(range(len(steps)))
    assert len(steps) >= 300
    assert len(steps) % 10 == 0 or number is signal.SIGKILL
    assert get_run(other, run_id)["info"]["status"] == ("FAILED" if number is signal.SIGKILL else "KILLED")


def test_a_container_leaves_the_runs_of_one_that_lives_alone(start: Start, tmp_path: Path) -> None:
    service = start("--state-dir", str(tmp_path / "state"))
    run_id = run_in(begun(service, train="steps_for_ever"))["id"]

    other = start("--state-dir", str(tmp_path / "state"))
    other.wait(lambda s: "tracking" in s["payload"], other.status())
    other.make_ready()
    other.do("train")

    assert settled_run(other)["info"]["run_id"] != run_id
    assert get_run(other, run_id)["info"]["status"] == "RUNNING"


def test_a_store_that_cannot_be_opened_is_reported_and_what_was_reported_arrives_when_it_can(
    start: Start, tmp_path: Path
) -> None:
    in_the_way = tmp_path / "mistk-state" / "tracking.db"
    in_the_way.mkdir(parents=True)
    service = start()
    service.make_ready()
    assert service.do("train")["state"] == "ready"
    told = service.wait(lambda s: "error" in s["payload"].get("tracking", {}), service.status())
    assert "is a folder" in told["payload"]["tracking"]["error"]

    in_the_way.rmdir()

    assert values(settled_run(service), "metrics")["loss"] == pytest.approx(1 / 3)
    assert "error" not in service.status()["payload"]["tracking"]


def test_a_worker_that_is_a_thread_is_tracked_too(start: Start) -> None:
    service = start("--worker", "thread")
    service.make_ready(rate=0.5)
    service.do("train")

    assert values(settled_run(service), "params") == {"rate": "0.5"}


# --- steering ---------------------------------------------------------------------------------------------------------


def initialize(service: Service, **properties: str) -> None:
    """Initialize and build with model properties of MLflow's names."""
    service.do("initialize", {"modelProperties": {f"mlflow.{key}": value for key, value in properties.items()}})
    service.do("buildModel")


def test_the_orchestrator_says_where_the_run_goes(start: Start) -> None:
    service = start(env={"MLFLOW_EXPERIMENT_NAME": "environment", "MLFLOW_RUN_NAME": "from outside"})
    initialize(service, experimentName="orchestrated", runName="by hand")
    service.do("train")

    run = settled_run(service)

    found = httpx.get(
        f"{service.url}{MLFLOW}/experiments/get",
        params={"experiment_id": run["info"]["experiment_id"]},
        timeout=REQUEST_TIMEOUT,
    )
    assert found.json()["experiment"]["name"] == "orchestrated"
    assert run["info"]["run_name"] == "by hand"


def test_the_environment_says_where_runs_go(start: Start) -> None:
    service = start(env={"MLFLOW_EXPERIMENT_NAME": "environment", "MLFLOW_RUN_NAME": "from outside"})
    service.make_ready()
    service.do("train")

    run = settled_run(service)

    found = httpx.get(
        f"{service.url}{MLFLOW}/experiments/get",
        params={"experiment_id": run["info"]["experiment_id"]},
        timeout=REQUEST_TIMEOUT,
    )
    assert found.json()["experiment"]["name"] == "environment"
    assert run["info"]["run_name"] == "from outside"


def test_a_run_is_gone_on_with_and_may_be_part_of_another(start: Start) -> None:
    service = start()
    parent, child = create_run(service), create_run(service)
    initialize(service, runId=child)
    service.do("train")
    assert settled_run(service)["info"]["run_id"] == child

    service.do("reset")
    initialize(service, parentRunId=parent)
    service.do("train")

    nested = settled_run(service)
    assert nested["info"]["run_id"] != child
    assert nested["info"]["experiment_id"] == "0"
    assert values(nested, "tags")["mlflow.parentRunId"] == parent


def test_a_wish_that_cannot_be_fulfilled_costs_the_model_nothing_and_is_reported(start: Start) -> None:
    service = start()
    initialize(service, runId="0" * 32)

    assert service.do("train")["state"] == "ready"

    settled_run(service)
    (note,) = service.status()["payload"]["tracking"]["notes"]
    assert "0" * 32 in note
    assert "a new one was started" in note


def test_a_killed_container_is_followed_by_one_that_continues_its_run(start: Start, tmp_path: Path) -> None:
    service = start("--state-dir", str(tmp_path / "state"))
    run_id = run_in(begun(service, train="steps_for_ever"))["id"]
    service.process.kill()
    service.process.wait(REQUEST_TIMEOUT)

    other = start("--state-dir", str(tmp_path / "state"), env={"MLFLOW_RUN_ID": run_id})
    other.make_ready()
    other.do("train")

    run = settled_run(other)
    assert run["info"]["run_id"] == run_id
    assert "mistk.failure" not in values(run, "tags")
    assert values(run, "metrics")["loss"] > 0


def test_a_saved_model_is_registered(start: Start, tmp_path: Path) -> None:
    service = start()
    initialize(service, registeredModelName="obedient")
    service.do("train")
    for _ in range(2):
        service.do("saveModel", modelPath=str(tmp_path / "model"))
    settled_run(service)

    found = httpx.get(
        f"{service.url}{MLFLOW}/model-versions/search", params={"filter": "name='obedient'"}, timeout=REQUEST_TIMEOUT
    ).json()["model_versions"]

    versions = {version["version"]: version for version in found}
    assert versions.keys() == {"1", "2"}
    sources = [versions[number]["source"].partition("/artifacts")[2] for number in "12"]
    assert sources == ["/model", "/model-2"]
    assert {version["run_id"] for version in found} == {settled_run(service)["info"]["run_id"]}


# --- others -----------------------------------------------------------------------------------------------------------


def test_the_real_client_reads_the_run_from_the_container(start: Start, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    service = start()
    service.make_ready(rate=0.1)
    service.do("train")
    service.do("saveModel", modelPath=str(tmp_path / "model"))
    run_id = settled_run(service)["info"]["run_id"]
    client = mlflow.MlflowClient(service.url)

    run = client.get_run(run_id)

    assert run.info.status == "FINISHED"
    assert run.data.params == {"rate": "0.1"}
    assert [(point.step, point.value) for point in client.get_metric_history(run_id, "loss")] == [
        (0, 1.0),
        (1, 0.5),
        (2, 1 / 3),
    ]
    assert [file.path for file in client.list_artifacts(run_id, "model")] == ["model/MLmodel", "model/model.txt"]
    downloaded = client.download_artifacts(run_id, "model/model.txt", str(tmp_path))
    assert Path(downloaded).read_text() == "saved"


def test_stream_predictions_are_part_of_a_run_that_there_is(start: Start) -> None:
    service = start()
    service.make_ready()
    service.do("predict")
    record = base64.b64encode(b"x").decode()
    for _ in range(3):
        service.api.post("/streamPredict", json={"a": record}).raise_for_status()
    run_id = settled_run(service)["info"]["run_id"]

    service.do("reset")

    service.wait(lambda s: "run" not in s["payload"], service.status())
    metrics = values(get_run(service, run_id), "metrics")
    assert (metrics["mistk/stream_predict_count"], metrics["mistk/stream_predict_records"]) == (3, 3)


def test_the_worker_that_a_killed_service_leaves_does_not_keep_its_lock(start: Start, tmp_path: Path) -> None:
    service = start("--state-dir", str(tmp_path / "state"))
    begun(service, train="steps_for_ever")
    (lock,) = (tmp_path / "state" / "containers").iterdir()
    holders = [
        process.pid
        for process in [psutil.Process(service.process.pid), service.worker()]
        if any(file.path == str(lock) for file in process.open_files())
    ]

    assert holders == [service.process.pid]


def test_a_container_that_has_ended_in_order_leaves_no_lock(start: Start, tmp_path: Path) -> None:
    service = start()
    service.make_ready()
    service.do("train")
    service.post("shutdown")

    assert service.wait_exit() == 0
    assert list((tmp_path / "mistk-state" / "containers").iterdir()) == []
