"""buildEnsemble and miniaturize: the arguments of the hooks, the runs, and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service.harness import RESTING, Service, refused

MODEL = f"{Path(__file__).parents[1] / 'models' / 'ensembles.py'}:Ensembles"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service("serve", MODEL, "--port", "0", cwd=tmp_path_factory.mktemp("ensembles")) as service:
        yield service


@pytest.fixture
def initialized(shared: Service) -> Service:
    """The service in the state ``initialized``."""
    if shared.status()["state"] not in ("started", "initialized"):
        shared.do("reset")
    if shared.status()["state"] == "started":
        shared.do("initialize", {"objectives": ["miniaturization"]})
    return shared


@pytest.fixture
def ready(shared: Service) -> Service:
    """The service in the state ``ready``."""
    if shared.status()["state"] not in ("started", "ready"):
        shared.do("reset")
    if shared.status()["state"] == "started":
        shared.make_ready()
    return shared


def test_an_ensemble_is_built_from_saved_models_and_then_built_as_a_model(initialized: Service, tmp_path: Path) -> None:
    paths = {"first": str(tmp_path), "second": "s3://bucket/second"}
    # The harness of MISTK sends the address of the container as the path of the ensemble.
    status = initialized.do("buildEnsemble", paths, ensemblePath=initialized.url)
    assert status["state"] == "ready"
    assert status["payload"]["calls"] == [["ensemble", initialized.url, paths], ["model", initialized.url]]


def test_a_member_may_be_a_model_of_the_store(shared: Service) -> None:
    shared.do("reset")
    shared.do("initialize", {"modelProperties": {"mlflow.registeredModelName": "member"}})
    shared.do("buildModel")
    shared.do("saveModel", modelPath="saved")
    shared.wait_for_metric("mistk_reporter_waiting", 0)
    shared.do("reset")
    shared.do("initialize", {})
    calls = shared.do("buildEnsemble", {"registered": "models:/member/1"})["payload"]["calls"]
    assert calls[0][2]["registered"].startswith("/")
    assert Path(calls[0][2]["registered"], "model.txt").read_text() == "saved"
    assert calls[1] == ["model", None]


def test_an_ensemble_without_anything_is_the_models_business(initialized: Service) -> None:
    assert initialized.do("buildEnsemble")["payload"]["calls"] == [["ensemble", None, {}], ["model", None]]


def test_a_miniaturized_model_is_saved_and_kept_with_the_run(ready: Service, tmp_path: Path) -> None:
    status = ready.do("miniaturize", dataPath=str(tmp_path / "new" / "small"), includeHalfPrecision="True")
    assert (status["state"], status["payload"]["lastActivity"]["outcome"]) == ("ready", "completed")
    assert (tmp_path / "new" / "small" / "small.txt").read_text() == "half precision: True"
    ready.wait_for_metric("mistk_reporter_waiting", 0)
    run = ready.status()["payload"]["run"]["id"]
    listed = ready.api.get(f"{ready.url}/api/2.0/mlflow/artifacts/list", params={"run_id": run, "path": "miniaturized"})
    assert [file["path"] for file in listed.json()["files"]] == ["miniaturized/small.txt"]


# --- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"first": "/no/such/model"}, "modelPaths.first"),
        ({"first": ""}, "modelPaths.first"),
        ({"first": "models:/nobody/1"}, "models:/nobody/1"),
        ({"first": 5}, "first"),
        (["/tmp"], "is not an object"),
    ],
)
def test_members_that_cannot_be_read_are_reported_by_their_name(initialized: Service, body: Any, field: str) -> None:
    before = initialized.settled()
    assert field in refused(initialized.api.post("/buildEnsemble", json=body))["message"]
    assert initialized.status() == before


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "dataPath"),
        ({"dataPath": "small"}, "includeHalfPrecision"),
        ({"dataPath": "", "includeHalfPrecision": "true"}, "dataPath"),
        ({"dataPath": "small", "includeHalfPrecision": "perhaps"}, "includeHalfPrecision"),
        ({"dataPath": "/dev/null/small", "includeHalfPrecision": "true"}, "dataPath"),
        ({"dataPath": "mistk-state/small", "includeHalfPrecision": "true"}, "dataPath"),
    ],
)
def test_a_miniaturization_without_a_writable_folder_or_a_precision_is_refused(
    ready: Service, query: dict[str, str], field: str
) -> None:
    before = ready.settled()
    assert field in refused(ready.api.post("/miniaturize", params=query))["message"]
    assert ready.status() == before


def test_each_is_refused_in_a_state_that_does_not_allow_it(ready: Service, tmp_path: Path) -> None:
    error = refused(ready.api.post("/buildEnsemble"))
    assert (error["operation"], error["state"]) == ("buildEnsemble", "ready")
    ready.do("reset")
    query = {"dataPath": str(tmp_path / "small"), "includeHalfPrecision": "true"}
    error = refused(ready.api.post("/miniaturize", params=query))
    assert (error["operation"], error["state"]) == ("miniaturize", "started")
    assert not (tmp_path / "small").exists()


def test_a_model_that_refuses_its_members_stays_initialized(initialized: Service, tmp_path: Path) -> None:
    error = refused(initialized.api.post("/buildEnsemble", json={"odd": str(tmp_path)}))
    assert error["message"] == "odd is no model of this kind."
    assert initialized.wait(lambda status: status["state"] in RESTING, initialized.status())["state"] == "initialized"


def test_a_model_without_the_hooks_refuses_both(start: Any) -> None:
    service = start()
    service.do("initialize", {})
    assert "do_build_ensemble" in refused(service.api.post("/buildEnsemble"))["message"]
    service.do("buildModel")
    query = {"dataPath": "small", "includeHalfPrecision": "true"}
    assert "do_miniaturize" in refused(service.api.post("/miniaturize", params=query))["message"]
