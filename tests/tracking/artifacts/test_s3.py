"""Artifacts in S3: uploads in parts, downloads through a server, and outages of the storage."""

import os

import httpx
import pytest

from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.artifacts.paths import SCRATCH
from mistk_service.tracking.errors import StoreUnavailable
from mistk_service.tracking.values import FileInfo
from tests.support.remotes import reserved_port
from tests.support.s3 import CREDENTIALS
from tests.tracking.server.conftest import running_server

FILES = "/api/2.0/mlflow-artifacts/artifacts"

#: More than one part of an upload, in MiB.
PARTS = 55


def test_a_file_of_several_parts_comes_back_and_nothing_else_stays(s3, bucket):
    artifacts = open_artifacts(f"s3://{bucket}/root")
    block = os.urandom(1 << 20)
    upload, aborted = artifacts.create("d/large"), artifacts.create("d/aborted")
    for _ in range(PARTS):
        upload.write(block)
        aborted.write(block)
    upload.commit()
    aborted.abort()
    assert artifacts.list_folder("d") == [FileInfo("large", is_dir=False, file_size=PARTS << 20)]
    with artifacts.open("d/large") as stored:
        stored.stream.seek((PARTS - 2) << 20)
        assert stored.stream.read() == block * 2
    assert SCRATCH not in httpx.get(f"{s3}/{bucket}", timeout=30).text
    assert "<Upload>" not in httpx.get(f"{s3}/{bucket}?uploads", timeout=30).text


def test_a_server_keeps_its_files_there(bucket, tmp_path):
    content = os.urandom(3_000_000)
    with running_server(tmp_path, "--artifacts", f"s3://{bucket}/root") as server:
        with httpx.Client(base_url=server.url, timeout=30) as http:
            path = f"{FILES}/0/run/artifacts"
            assert http.put(f"{path}/model/weights.bin", content=content).status_code == 200
            assert http.get(f"{path}/model/weights.bin").content == content
            part = http.get(f"{path}/model/weights.bin", headers={"Range": "bytes=1000000-1000009"})
            assert (part.status_code, part.content) == (206, content[1_000_000:1_000_010])
            listed = http.get(FILES, params={"path": "0/run/artifacts/model"}).json()
            assert listed == {"files": [{"path": "weights.bin", "is_dir": False, "file_size": len(content)}]}
            assert http.get(f"{path}/model/nothing.bin").status_code == 404
            assert http.delete(f"{path}/model").status_code == 200
            assert http.get(f"{path}/model/weights.bin").status_code == 404


@pytest.fixture(params=["nobody answers", "no credentials"])
def out_of_reach(request, monkeypatch):
    """A repository in a storage that cannot be used, for either reason."""
    s3fs = pytest.importorskip("s3fs")
    # What was opened in another environment would be used again.
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    place = reserved_port()  # where nobody listens
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{place.getsockname()[1]}")
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    if request.param == "no credentials":
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    yield open_artifacts("s3://bucket/root")
    s3fs.S3FileSystem.clear_instance_cache()
    place.close()


@pytest.mark.parametrize("call", ["list_folder", "open", "create", "delete"])
def test_a_storage_that_cannot_be_used_is_unavailable(out_of_reach, call):
    with pytest.raises(StoreUnavailable, match="The artifact storage cannot do this now"):
        getattr(out_of_reach, call)("d/f")
