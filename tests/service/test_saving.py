"""The folder to which a model saves."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx

from tests.service.conftest import Start
from tests.service.harness import REQUEST_TIMEOUT, Service, refused
from tests.service.test_runs import settled_run


def saved(service: Service) -> list[str]:
    """The names of the files in the run's folder ``model``."""
    run_id = settled_run(service)["info"]["run_id"]
    query = {"run_id": run_id, "path": "model"}
    found = httpx.get(f"{service.url}/api/2.0/mlflow/artifacts/list", params=query, timeout=REQUEST_TIMEOUT).json()
    return [file["path"] for file in found.get("files", [])]


def test_a_save_to_a_folder_with_other_files_hands_out_what_the_model_wrote(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "home"
    (folder / ".ssh").mkdir(parents=True)
    (folder / ".ssh" / "id_rsa").write_text("key")
    (folder / "shadow").symlink_to("/etc/shadow")
    service = start()
    service.make_ready()

    service.do("saveModel", modelPath=str(folder))

    assert saved(service) == ["model/MLmodel", "model/model.txt"]


def test_nothing_is_saved_into_the_state_directory(start: Start, tmp_path: Path) -> None:
    service = start()
    service.make_ready()
    state = tmp_path / "mistk-state"
    (tmp_path / "link").symlink_to(state / "artifacts")

    for path in (state, state / "artifacts", state / "new", "mistk-state/x/../y", tmp_path / "link"):
        for operation, field in (("saveModel", "modelPath"), ("savePredictions", "dataPath")):
            response = service.api.post(f"/{operation}", params={field: str(path)})
            assert response.status_code == 400, (operation, path)
            assert "keeps its store" in response.text

    assert service.status()["state"] == "ready"
    assert not (state / "new").exists()


def test_a_save_from_a_folder_that_was_deleted_is_refused(start: Start, tmp_path: Path) -> None:
    service = start("--no-tracking")  # nothing is written to the folder meanwhile
    service.make_ready()
    shutil.rmtree(tmp_path)
    error = refused(service.api.post("/saveModel", params={"modelPath": "model"}))
    assert "modelPath" in error["message"]
    assert "was deleted" in error["message"]
    assert service.status()["state"] == "ready"
