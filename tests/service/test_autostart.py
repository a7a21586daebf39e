"""A service that builds its model itself: from a folder, an archive, a URL or the store."""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.conftest import Start
from tests.service.harness import MODELS, OBEDIENT, REQUEST_TIMEOUT, run
from tests.service.test_runs import MLFLOW, settled_run
from tests.support.harness import reference
from tests.support.remotes import reserved_port
from tests.support.s3 import CREDENTIALS, new_bucket

RETURNING = f"{MODELS / 'returning.py'}:Returning"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder with a saved model."""
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "model.txt").write_text("from the folder")
    return folder


def write(file: Path, values: Any) -> str:
    """Write values as JSON, and return the path of the file."""
    file.write_text(json.dumps(values))
    return str(file)


def test_a_service_gets_ready_with_what_it_is_given(start: Start, tmp_path: Path) -> None:
    (tmp_path / "train.csv").touch()
    service = start(
        "--no-tracking", "--hyperparameters", write(tmp_path / "h.json", {"rate": "0.5", "epochs": 2}),
        "--properties", write(tmp_path / "p.json", {"classes": 3}),
        model=reference("declared:Declared"),
    )  # fmt: skip
    assert service.api.get(f"{service.url}/readyz").status_code == 200
    assert service.status()["payload"]["got"]["epochs"] == 2

    (tmp_path / "d.yaml").write_text("train: train.csv\n")
    service = start("--no-tracking", "--data", str(tmp_path / "d.yaml"))
    assert service.status()["state"] == "ready"
    assert service.status()["payload"]["loaded"] == {"train": str(tmp_path / "train.csv")}


def test_a_service_that_waits_for_the_content_of_a_file_answers_and_can_be_ended(start: Start, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    service = start("--no-tracking", "--hyperparameters", str(tmp_path / "pipe"), begun="Listening at ")
    with (tmp_path / "pipe").open("w"):  # opens when the service reads
        assert service.api.get(f"{service.url}/livez").status_code == 200
        service.signal(signal.SIGTERM)
        assert service.wait_exit() == 0


def test_a_model_is_built_from_a_folder(start: Start, saved: Path) -> None:
    service = start("--no-tracking", model=RETURNING, env={"MISTK_BUILD_FROM": str(saved)})
    status = service.status()
    assert (status["state"], status["payload"]["text"]) == ("ready", "from the folder")
    assert service.api.get(f"{service.url}/startupz").status_code == 200


def test_a_model_is_built_from_a_web_server_and_from_s3(start: Start, saved: Path, tmp_path: Path, s3: str) -> None:
    import fsspec

    archive = Path(shutil.make_archive(str(tmp_path / "model"), "zip", saved))
    with web_server(tmp_path) as url:
        service = start("--no-tracking", "--build-from", f"{url}/{archive.name}", model=RETURNING)
        assert service.status()["payload"]["text"] == "from the folder"
        code, _, err = run(
            "serve", RETURNING, "--port", "0", "--no-tracking", "--build-from", f"{url}/none.zip", cwd=tmp_path
        )
        assert (code, "none.zip' does not exist" in err) == (2, True)
    options = {"endpoint_url": s3, "key": "testing", "secret": "testing"}
    bucket = new_bucket(s3)
    with fsspec.open(f"s3://{bucket}/a/b/model.txt", "w", skip_instance_cache=True, **options) as file:
        file.write("from s3")
    env = {**CREDENTIALS, "AWS_ENDPOINT_URL": s3}
    service = start("--no-tracking", "--build-from", f"s3://{bucket}/a/b", model=RETURNING, env=env)
    assert service.status()["payload"]["text"] == "from s3"


def test_a_model_is_built_from_the_store_of_the_container_in_a_later_start(start: Start, tmp_path: Path) -> None:
    first = start(model=RETURNING)
    properties = {"mlflow.registeredModelName": "kept"}
    first.do("initialize", {"hyperparameters": {"text": "registered"}, "modelProperties": properties})
    first.do("buildModel")
    first.do("saveModel", modelPath=str(tmp_path / "out"))
    run_id = settled_run(first)["info"]["run_id"]
    alias = {"name": "kept", "alias": "best", "version": "1"}
    httpx.post(f"{first.url}{MLFLOW}/registered-models/alias", json=alias, timeout=REQUEST_TIMEOUT).raise_for_status()
    first.post("shutdown")
    assert first.wait_exit() == 0
    for place in ("models:/kept@best", f"runs:/{run_id}/model"):
        service = start("--build-from", place, model=RETURNING)
        assert service.status()["payload"]["text"] == "registered"
        service.end()


def test_the_model_of_sagemaker_is_found(start: Start, saved: Path, tmp_path: Path) -> None:
    (tmp_path / "ml").mkdir()
    saved.rename(tmp_path / "ml" / "model")
    service = start("--no-tracking", model=RETURNING, env={"SAGEMAKER_BASE_DIR": str(tmp_path / "ml")})
    assert service.status()["payload"]["text"] == "from the folder"


def test_a_start_that_fails_says_why_and_has_an_exit_code(tmp_path: Path) -> None:
    file = write(tmp_path / "raise.json", {"initialize": "raise"})
    serve = ("serve", OBEDIENT, "--port", "0", "--no-tracking")
    code, _, err = run(*serve, "--hyperparameters", file, cwd=tmp_path)
    assert (code, "The model failed in initialize: ValueError: the model was told to raise" in err) == (1, True)
    code, _, err = run(*serve, "--hyperparameters", "none.json", cwd=tmp_path)
    assert (code, "--hyperparameters: none.json cannot be read" in err) == (2, True)


def test_a_storage_that_cannot_be_reached_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    with reserved_port() as place:
        url = f"http://127.0.0.1:{place.getsockname()[1]}/model.zip"
        code, _, err = run("serve", OBEDIENT, "--port", "0", "--no-tracking", "--build-from", url, cwd=tmp_path)
    assert (code, "cannot be reached" in err) == (69, True)


def test_a_hyperparameter_that_the_class_does_not_accept_ends_the_start(tmp_path: Path) -> None:
    file = write(tmp_path / "h.json", {"rate": 7})
    code, _, err = run(
        "serve", reference("declared:Declared"), "--port", "0", "--no-tracking", "--hyperparameters", file, cwd=tmp_path
    )
    assert code == 2
    assert err.endswith("Error: hyperparameters.rate cannot be 7; expected a number, above 0 and at most 1.\n")


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """Serve a folder, and give its URL."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=os.fspath(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
