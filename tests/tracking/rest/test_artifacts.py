"""Artifacts on a remote, in its own storage."""

import hashlib
import io

import pytest
from msgspec.structs import replace

from mistk_service.tracking import open_store
from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.errors import InvalidParameter, ResourceNotFound, UnsupportedStore
from mistk_service.tracking.rest import open_rest_store
from mistk_service.tracking.server import create_tracking_app
from mistk_service.tracking.values import FileInfo
from tests.support.serving import served


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    with open_store(f"sqlite:///{folder}/store.db") as local:
        with (
            served(create_tracking_app(local, open_artifacts(folder / "artifacts"))) as url,
            open_rest_store(url) as store,
        ):
            yield store


@pytest.fixture
def run(store):
    return store.create_run("0")


@pytest.fixture
def artifacts(store, run):
    return store.run_artifacts(run)


def test_what_is_put_is_listed_and_read(artifacts):
    artifacts.put("folder/image+1 ü%20.png", io.BytesIO(b"pixels"))
    artifacts.put("empty", io.BytesIO())
    assert artifacts.list_folder() == [FileInfo("empty", False, 0), FileInfo("folder", True)]
    assert artifacts.list_folder("folder") == [FileInfo("image+1 ü%20.png", False, 6)]
    with artifacts.open("folder/image+1 ü%20.png") as stored:
        assert (stored.name, stored.size, stored.stream.read()) == ("image+1 ü%20.png", 6, b"pixels")
        assert stored.stream.seek(2) == 2
        assert stored.stream.read() == b"xels"
    assert artifacts.list_folder("nowhere") == []


def test_a_large_file_passes_in_pieces(artifacts):
    piece = bytes(range(256)) * 4096
    upload = artifacts.create("large")
    for _ in range(40):
        upload.write(piece)
    assert artifacts.list_folder() == []
    upload.commit()
    with artifacts.open("large") as stored:
        assert stored.size == 40 << 20
        assert hashlib.file_digest(stored.stream, "sha256").digest() == hashlib.sha256(piece * 40).digest()


def test_an_upload_that_is_given_up_leaves_nothing(artifacts):
    upload = artifacts.create("never")
    upload.write(b"x")
    upload.abort()
    upload.abort()
    assert artifacts.list_folder() == []


def test_a_file_is_put_in_place_of_another(artifacts):
    artifacts.put("file", io.BytesIO(b"old and long"))
    artifacts.put("file", io.BytesIO(b"new"))
    with artifacts.open("file") as stored:
        assert stored.stream.read() == b"new"


def test_what_is_not_there_is_not_found(artifacts):
    with pytest.raises(ResourceNotFound, match=r"artifact: '.*none'"):
        artifacts.open("none")
    artifacts.delete("none")


def test_what_is_deleted_is_gone(artifacts):
    artifacts.put("a/b", io.BytesIO(b"x"))
    artifacts.delete("a")
    assert artifacts.list_folder() == []


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "%2e%2e/x", "a\\b", "a\nb"])
def test_no_path_leaves_the_run(artifacts, path):
    for call in (artifacts.open, artifacts.create, artifacts.delete, artifacts.list_folder):
        with pytest.raises(InvalidParameter):
            call(path)


def test_the_root_is_not_a_file(artifacts):
    for call in (artifacts.create, artifacts.delete):
        with pytest.raises(InvalidParameter):
            call("")


@pytest.mark.parametrize("form", ["http", "mlflow-artifacts"])
def test_a_location_may_name_its_server(store, run, form):
    folder = run.info.artifact_uri.removeprefix("mlflow-artifacts:/")
    uri = {
        "http": f"{store.uri}/api/2.0/mlflow-artifacts/artifacts/{folder}",
        "mlflow-artifacts": f"mlflow-artifacts://{store.uri.removeprefix('http://')}/{folder}",
    }[form]
    elsewhere = store.run_artifacts(replace(run, info=replace(run.info, artifact_uri=uri)))
    elsewhere.put("file", io.BytesIO(b"x"))
    assert store.run_artifacts(run).list_folder() == elsewhere.list_folder() == [FileInfo("file", False, 1)]


def test_a_location_in_a_folder_is_opened_there(store, tmp_path):
    experiment = store.create_experiment("in a folder", f"file://{tmp_path}/elsewhere")
    artifacts = store.run_artifacts(store.create_run(experiment))
    artifacts.put("file", io.BytesIO(b"x"))
    assert len(list((tmp_path / "elsewhere").rglob("file"))) == 1


def test_a_run_without_a_location_has_nowhere_to_put_a_file(store, run):
    with pytest.raises(UnsupportedStore, match="artifacts"):
        store.run_artifacts(replace(run, info=replace(run.info, artifact_uri="")))
