"""Models of the container's own store, and what a model learns of its run."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.service.conftest import Start
from tests.service.harness import MODELS, REQUEST_TIMEOUT
from tests.service.test_runs import MLFLOW, settled_run, values

RETURNING = f"{MODELS / 'returning.py'}:Returning"


def test_a_model_is_built_from_a_version_an_alias_or_a_run_of_the_store(start: Start, tmp_path: Path) -> None:
    service = start(model=RETURNING)
    properties = {"mlflow.registeredModelName": "kept"}
    service.do("initialize", {"hyperparameters": {"text": "saved"}, "modelProperties": properties})
    service.do("buildModel")
    service.do("saveModel", modelPath=str(tmp_path / "saved"))
    run_id = settled_run(service)["info"]["run_id"]
    alias = {"name": "kept", "alias": "best", "version": "1"}
    httpx.post(f"{service.url}{MLFLOW}/registered-models/alias", json=alias, timeout=REQUEST_TIMEOUT).raise_for_status()
    service.wait_for_state("started", service.post("reset"))

    service.do("initialize", {})
    for place in ("models:/kept/1", "models:/kept@best", "models:/kept/latest", f"runs:/{run_id}/model"):
        built = service.do("buildModel", modelPath=place)
        assert built["payload"]["text"] == "saved", place
        name = "kept" if place.startswith("models:/") else "returning"
        assert service.api.get(f"{service.url}/v2/models/{name}/versions/1").json()["versions"] == ["1"]
        service.wait_for_state("started", service.post("reset"))
        service.do("initialize", {})

    for wrong in (
        "models:/kept/7",
        "models:/other/1",
        "models:/kept@worst",
        f"runs:/{run_id}/nothing",
        "runs:/x/model",
        "models:/",
    ):
        answer = service.api.post("/buildModel", params={"modelPath": wrong})
        assert answer.status_code == 400, (wrong, answer.text)
        assert "modelPath" in answer.text
        assert ". Expected models:/NAME/VERSION" in answer.text
    assert service.status()["state"] == "initialized"


def test_without_a_store_a_model_of_one_is_refused(start: Start) -> None:
    service = start("--no-tracking", model=RETURNING)
    service.do("initialize", {})

    answer = service.api.post("/buildModel", params={"modelPath": "models:/kept/1"})

    assert (answer.status_code, "--no-tracking" in answer.text) == (400, True)


@pytest.mark.parametrize("worker", ["process", "thread"])
def test_a_model_learns_the_run_it_is_and_writes_to_it_by_itself(start: Start, worker: str) -> None:
    service = start("--worker", worker, model=RETURNING)
    status = service.do("initialize", {})
    assert status["payload"]["early"] is True
    service.do("buildModel")

    trained = service.do("train")

    assert trained["state"] == "ready", trained
    assert values(settled_run(service), "metrics")["own"] == 4.0
