"""The artifacts of runs on a tracking server, ours and MLflow's own."""

import io

import pytest

from mistk_service.tracking.errors import ResourceNotFound
from mistk_service.tracking.values import FileInfo

pytestmark = pytest.mark.parametrize("store_uri", ["over http", "mlflow"], indirect=True)


def test_files_of_a_run_are_kept_listed_read_replaced_and_deleted(store, experiment):
    artifacts = store.run_artifacts(store.create_run(experiment))
    artifacts.put("model/weights+1 ü.bin", io.BytesIO(b"first"))
    artifacts.put("model/weights+1 ü.bin", io.BytesIO(b"weights"))
    upload = artifacts.create("notes.txt")
    upload.write(b"a note")
    upload.commit()
    assert artifacts.list_folder() == [FileInfo("model", True), FileInfo("notes.txt", False, 6)]
    assert artifacts.list_folder("model") == [FileInfo("weights+1 ü.bin", False, 7)]
    with artifacts.open("model/weights+1 ü.bin") as stored:
        assert (stored.size, stored.stream.read()) == (7, b"weights")
    artifacts.delete("model")
    assert [info.path for info in artifacts.list_folder()] == ["notes.txt"]
    with pytest.raises(ResourceNotFound):
        artifacts.open("model/weights+1 ü.bin")


def test_files_of_two_runs_are_apart(store, experiment):
    one, other = (store.run_artifacts(store.create_run(experiment)) for _ in range(2))
    one.put("file", io.BytesIO(b"1"))
    assert other.list_folder() == []
