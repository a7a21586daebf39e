"""Uploads and downloads: streamed, complete or absent, and never outside the root."""

import concurrent.futures
import io
import os
import re
import shutil
import socket
import tempfile
import threading
import time
import zipfile
import zlib
from pathlib import Path

import httpx
import pytest

FILES = "/api/2.0/mlflow-artifacts/artifacts"

#: A size that no signed number of 32 bits holds, and what it may add to the memory of the server; both in bytes.
LARGE = (512 << 20) + (3 << 20)
ALLOWANCE = 32 << 20


@pytest.fixture
def folder(run_id):
    return f"0/{run_id}/artifacts"


def put(http, path, data=b"data", **options):
    response = http.put(f"{FILES}/{path}", content=data, **options)
    assert (response.status_code, response.json()) == (200, {}), response.text


def names(http, path):
    return [info["path"] for info in http.get(FILES, params={"path": path}).json().get("files", [])]


def test_a_file_comes_back_as_an_attachment_that_is_never_shown_in_place(http, folder):
    put(http, f"{folder}/page.html", b"<script>alert(1)</script>")
    response = http.get(f"{FILES}/{folder}/page.html")
    assert response.content == b"<script>alert(1)</script>"
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["content-disposition"] == "attachment; filename=page.html"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["etag"]
    assert "last-modified" in response.headers


def test_the_artifacts_of_a_run_come_as_one_archive(http, run_id):
    names = ["a b.txt", "model/数据.bin", "model/deep/empty"]
    root = http.get("/api/2.0/mlflow/runs/get", params={"run_id": run_id}).json()["run"]["info"]["artifact_uri"]
    for name in names:
        put(
            http,
            f"{root.removeprefix('mlflow-artifacts:/')}/{name}",
            b"" if "empty" in name else name.encode() * 500_000,
        )
    for folder, expected in [("", names), ("model", names[1:])]:
        response = http.get("/api/2.0/mlflow/artifacts/archive", params={"run_id": run_id, "path": folder})
        assert response.headers["content-type"] == "application/zip"
        archive = zipfile.ZipFile(io.BytesIO(response.content))
        assert sorted(archive.namelist()) == sorted(expected)
        assert archive.testzip() is None
        assert all(archive.read(name) == name.encode() * 500_000 for name in expected if "empty" not in name)


def test_an_archive_of_an_unknown_run_or_of_a_path_that_leads_out_is_refused(http, run_id):
    wrong = [({"run_id": "0" * 32}, 404), ({"run_id": run_id, "path": "nothing"}, 404)]
    wrong += [({"run_id": run_id, "path": "../x"}, 400), ({}, 400)]
    for query, status in wrong:
        assert http.get("/api/2.0/mlflow/artifacts/archive", params=query).status_code == status


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("MLmodel", "text/plain"),
        ("MLproject", "text/plain"),
        ("mlproject", "text/plain"),
        ("model.tar.gz", "application/x-tar"),
        ("model.tgz", "application/x-tar"),
        ("conda.yaml", "text/plain"),
        ("data.csv", "text/plain"),
        ("figure.png", "image/png"),
        ("model.pkl", "application/octet-stream"),
        ("data.csv.gz", "application/octet-stream"),
        ("no_ending", "application/octet-stream"),
    ],
)
def test_the_type_follows_from_the_name(http, folder, name, content_type):
    put(http, f"{folder}/{name}")
    assert http.get(f"{FILES}/{folder}/{name}").headers["content-type"].partition(";")[0] == content_type


@pytest.mark.parametrize("name", ["a b.txt", "a+b.txt", "100%.txt", 'quo"te.txt', "数据.csv", "a;b&c=d.txt", "%41.txt"])
def test_odd_names_are_kept(http, folder, name):
    quoted = httpx.URL("http://x/").copy_with(path=f"/{name}").raw_path.decode()
    put(http, f"{folder}{quoted.replace('%2F', '/')}" if "%" not in name else f"{folder}/{name.replace('%', '%25')}")
    assert names(http, folder) == [name]
    response = http.get(f"{FILES}/{folder}/{name.replace('%', '%25')}")
    assert response.content == b"data"


@pytest.mark.parametrize(
    ("wanted", "status", "content", "content_range"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=0-99", 200, b"0123456789", None),
        ("bytes=-99", 200, b"0123456789", None),
        ("bytes=5-2", 200, b"0123456789", None),
        ("bytes=1-2,4-5", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
    ],
)
def test_a_range_gives_that_part(http, folder, wanted, status, content, content_range):
    put(http, f"{folder}/digits", b"0123456789")
    response = http.get(f"{FILES}/{folder}/digits", headers={"Range": wanted})
    assert (response.status_code, response.content) == (status, content)
    assert response.headers.get("content-range") == content_range


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a-b_1.txt", "filename=a-b_1.txt"),
        ("a b.txt", 'filename="a b.txt"'),
        ("a;b.txt", 'filename="a;b.txt"'),
        ("ü.txt", "filename*=UTF-8''%C3%BC.txt"),
    ],
)
def test_a_name_is_quoted_where_it_has_to_be(http, folder, name, header):
    put(http, f"{folder}/{name}")
    assert http.get(f"{FILES}/{folder}/{name}").headers["content-disposition"] == f"attachment; {header}"


def test_a_range_of_a_file_that_has_changed_gives_the_whole(http, folder):
    put(http, f"{folder}/f", b"0123456789")
    etag = http.get(f"{FILES}/{folder}/f").headers["etag"]
    headers = {"Range": "bytes=0-1", "If-Range": etag}
    assert http.get(f"{FILES}/{folder}/f", headers=headers).content == b"01"
    put(http, f"{folder}/f", b"9876543210")
    assert http.get(f"{FILES}/{folder}/f", headers=headers).content == b"9876543210"


def test_a_client_that_has_the_file_does_not_get_it_again(http, folder):
    put(http, f"{folder}/f")
    etag = http.get(f"{FILES}/{folder}/f").headers["etag"]
    again = http.get(f"{FILES}/{folder}/f", headers={"If-None-Match": f'"other", {etag}'})
    assert (again.status_code, again.content) == (304, b"")
    put(http, f"{folder}/f", b"new")
    assert http.get(f"{FILES}/{folder}/f", headers={"If-None-Match": etag}).content == b"new"


def test_an_empty_file_can_be_moved(http, folder):
    put(http, f"{folder}/empty", b"")
    response = http.get(f"{FILES}/{folder}/empty")
    assert (response.status_code, response.content, response.headers["content-length"]) == (200, b"", "0")


def test_a_head_request_tells_the_size(http, folder):
    put(http, f"{folder}/f", b"12345")
    response = http.head(f"{FILES}/{folder}/f")
    assert (response.content, response.headers["content-length"]) == (b"", "5")


def test_a_body_in_chunks_is_taken(http, folder):
    put(http, f"{folder}/f", iter([b"one ", b"two ", b"three"]))
    assert http.get(f"{FILES}/{folder}/f").content == b"one two three"


def test_folders_are_listed_by_base_names_and_runs_by_paths(http, api, run_id):
    root = api.get("artifacts/list", run_id=run_id)["root_uri"]
    folder = root.removeprefix("mlflow-artifacts:/")
    for path in ("model/MLmodel", "model/data/x.bin", "top.txt"):
        put(http, f"{folder}/{path}")
    assert names(http, f"{folder}/model") == ["MLmodel", "data"]
    assert api.get("artifacts/list", run_id=run_id) == {
        "root_uri": root,
        "files": [{"path": "model", "is_dir": True}, {"path": "top.txt", "is_dir": False, "file_size": 4}],
    }
    below = api.get("artifacts/list", run_uuid=run_id, path="model/")["files"]
    assert [info["path"] for info in below] == ["model/MLmodel", "model/data"]
    for nowhere in ("top.txt", "nope"):
        assert api.get("artifacts/list", run_id=run_id, path=nowhere) == {"root_uri": root}
    assert http.get(FILES, params={"path": f"{folder}/top.txt"}).json() == {}


def test_a_file_of_a_run_is_found_by_the_run(http, api, run_id):
    root = api.get("artifacts/list", run_id=run_id)["root_uri"].removeprefix("mlflow-artifacts:/")
    put(http, f"{root}/sub/f.txt", b"by run")
    for query in ({"run_id": run_id}, {"run_uuid": run_id}):
        assert http.get("/get-artifact", params={**query, "path": "sub/f.txt"}).content == b"by run"
    missing = http.get("/get-artifact", params={"run_id": run_id, "path": "nope"})
    assert (missing.status_code, missing.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_a_file_of_a_model_version_is_found_by_the_version(http, api, run_id):
    root = api.get("artifacts/list", run_id=run_id)["root_uri"]
    put(http, f"{root.removeprefix('mlflow-artifacts:/')}/model/MLmodel", b"flavors")
    api.post("registered-models/create", name="with files")
    api.post("model-versions/create", name="with files", source=f"{root}/model", run_id=run_id)
    query = {"name": "with files", "version": "1", "path": "MLmodel"}
    assert http.get("/model-versions/get-artifact", params=query).content == b"flavors"


def test_a_file_of_a_logged_model_is_found_by_the_model(http, api):
    model = api.post("logged-models", experiment_id="0", name="files")["model"]["info"]
    put(http, f"{model['artifact_uri'].removeprefix('mlflow-artifacts:/')}/sub/f", b"logged")
    path = f"logged-models/{model['model_id']}/artifacts"
    assert api.get(f"{path}/directories")["files"] == [{"path": "sub", "is_dir": True}]
    assert api.get(f"{path}/directories", artifact_directory_path="sub")["files"][0]["path"] == "sub/f"
    assert http.get(f"/api/2.0/mlflow/{path}/files", params={"artifact_file_path": "sub/f"}).content == b"logged"


def test_the_small_upload_of_mlflows_pages_has_a_limit(http, api, run_id):
    path = "/ajax-api/2.0/mlflow/upload-artifact"
    query = {"run_uuid": run_id, "path": "note.txt"}
    assert http.post(path, params=query, content=b"note").json() == {}
    assert http.get("/get-artifact", params={"run_id": run_id, "path": "note.txt"}).content == b"note"
    too_large = http.post(path, params={**query, "path": "large"}, content=bytes((10 << 20) + 1))
    assert too_large.status_code == 413
    assert [info["path"] for info in api.get("artifacts/list", run_id=run_id)["files"]] == ["note.txt"]


def test_files_and_folders_are_deleted(http, folder):
    for path in ("d/a", "d/b/c", "e"):
        put(http, f"{folder}/{path}")
    for path in ("d/a", "d", "never was"):
        assert http.delete(f"{FILES}/{folder}/{path}").json() == {}
    assert names(http, folder) == ["e"]


@pytest.mark.parametrize(
    "path",
    [
        "0/../../secret",
        "..%2f..%2fsecret",
        "%2e%2e/%2e%2e/secret",
        "0/%252e%252e/%252e%252e/%252e%252e/secret",
        "%2fetc%2fpasswd",
        "/etc/passwd",
        "0%00",
        "a%5c..%5cb",
        ".incomplete-uploads/x",
        "file:%2f%2f%2fetc%2fpasswd",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_no_path_leaves_the_root(server, method, path):
    host, port = server.url.removeprefix("http://").split(":")
    # Spoken by hand: a client would tidy the path up before it sends it.
    with socket.create_connection((host, int(port))) as connection:
        head = f"{method} {FILES}/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"
        connection.sendall(head.encode())
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert b"Invalid path" in answer


@pytest.mark.parametrize("path", ["..", "../../x", "/etc", "%2e%2e", "a/../../..", "a\x00b"])
def test_no_listing_leaves_the_root(http, run_id, path):
    for address, query in [
        (FILES, {"path": path}),
        ("/api/2.0/mlflow/artifacts/list", {"run_id": run_id, "path": path}),
        ("/get-artifact", {"run_id": run_id, "path": path}),
    ]:
        response = http.get(address, params=query)
        assert response.status_code == 400
        assert "Invalid path" in response.json()["message"]


def test_an_artifact_location_elsewhere_opens_nothing_of_this_machine(http, api, tmp_path):
    (tmp_path / "secret").write_text("secret")
    for location in (tmp_path.as_uri(), str(tmp_path)):
        made = http.post("/api/2.0/mlflow/experiments/create", json={"name": location, "artifact_location": location})
        if made.status_code != 200:
            continue
        run_id = api.run(made.json()["experiment_id"])
        for address, query in [("/api/2.0/mlflow/artifacts/list", {}), ("/get-artifact", {"path": "secret"})]:
            response = http.get(address, params={"run_id": run_id, **query})
            assert response.status_code == 400
            assert "which this server does not store" in response.json()["message"]


@pytest.mark.parametrize("location", ["webhdfs://127.0.0.1:9870/x", "memory://x", "nonsense:/x", "GITHUB://a:b@c/d"])
def test_a_location_of_a_kind_that_no_client_of_mlflow_writes_to_is_refused(http, location):
    body = {"name": location, "artifact_location": location}

    response = http.post("/api/2.0/mlflow/experiments/create", json=body)

    assert (response.status_code, response.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "--artifact-location" in response.json()["message"]


def test_an_upload_that_breaks_off_leaves_what_was_there(server, http, folder):
    put(http, f"{folder}/f", b"old")
    host, port = server.url.removeprefix("http://").split(":")
    scratch = server.folder / "artifacts" / ".incomplete-uploads"
    with socket.create_connection((host, int(port))) as connection:
        head = f"PUT {FILES}/{folder}/f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n\r\n"
        connection.sendall(head.encode() + bytes(2_000_000))
        wait_for(lambda: any(scratch.iterdir()))
    wait_for(lambda: not any(scratch.iterdir()))
    assert http.get(f"{FILES}/{folder}/f").content == b"old"


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_an_upload_that_the_end_of_the_server_breaks_off_leaves_nothing_when_it_starts_again(
    start_server, tmp_path, end
):
    scratch = tmp_path / "artifacts" / ".incomplete-uploads"
    with start_server(tmp_path) as running:
        host, port = running.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            head = f"PUT {FILES}/0/f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n\r\n"
            connection.sendall(head.encode() + bytes(2_000_000))
            wait_for(lambda: any(scratch.iterdir()))
            getattr(running.process, end)()
            running.process.wait(30)
    for rest in scratch.iterdir():
        os.utime(rest, (0, time.time() - 100))
    with start_server(tmp_path):
        assert not any(scratch.iterdir())


def wait_for(condition):
    """Wait until something is so; the test's own time limit ends it otherwise."""
    tick = threading.Event()
    while not condition():
        tick.wait(0.01)


def test_concurrent_uploads_of_one_file_leave_one_of_them_whole(server, folder):
    contents = [bytes([n]) * 3_000_000 for n in range(6)]

    def upload(content):
        with httpx.Client(base_url=server.url, timeout=30) as own:
            put(own, f"{folder}/f", content)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(upload, contents))
    assert httpx.get(f"{server.url}{FILES}/{folder}/f", timeout=30).content in contents


def test_more_uploads_than_allowed_are_refused(start_server, tmp_path):
    scratch = tmp_path / "artifacts" / ".incomplete-uploads"
    with start_server(tmp_path, "--max-uploads", "1") as running, httpx.Client(base_url=running.url) as http:
        host, port = running.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            head = f"PUT {FILES}/0/f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n\r\n"
            connection.sendall(head.encode() + bytes(2_000_000))
            wait_for(lambda: any(scratch.iterdir()))
            refused = http.put(f"{FILES}/0/g", content=bytes(5_000_000))
            assert (refused.status_code, refused.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
            assert "--max-uploads" in refused.json()["message"]
            assert int(refused.headers["retry-after"]) > 0
        wait_for(lambda: not any(scratch.iterdir()))
        put(http, "0/g", b"now")


@pytest.fixture
def peak_memory(start_server, tmp_path):
    """A server of its own, a client of it, and a function that tells the most memory that it has had since a transfer."""
    with start_server(tmp_path) as server, httpx.Client(base_url=server.url, timeout=60) as http:
        put(http, "0/warm", os.urandom(3 << 20))
        http.get(f"{FILES}/0/warm")
        process = Path("/proc", str(server.process.pid))
        (process / "clear_refs").write_text("5")  # the highest mark is set to what there is now

        def peak():
            peak = re.search(r"VmHWM:\s+(\d+) kB", (process / "status").read_text())
            assert peak
            return int(peak[1]) << 10

        yield http, peak


@pytest.mark.timeout(300)
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the highest use of memory")
@pytest.mark.skipif(shutil.disk_usage(tempfile.gettempdir()).free < 2 * LARGE, reason="needs 1 GB of disk")
def test_a_file_of_half_a_gigabyte_passes_in_constant_memory(peak_memory):
    http, peak = peak_memory
    before = peak()
    rest = os.urandom((1 << 20) - 8)
    sent = received = length = 0

    def body():
        nonlocal sent
        for n in range(LARGE >> 20):
            block = n.to_bytes(8, "big") + rest  # a block that is lost, repeated or out of its place changes the sum
            sent = zlib.crc32(block, sent)
            yield block

    put(http, "0/large", body())
    with http.stream("GET", f"{FILES}/0/large") as response:
        for piece in response.iter_raw():
            received = zlib.crc32(piece, received)
            length += len(piece)
    assert http.delete(f"{FILES}/0/large").status_code == 200
    assert (length, received) == (LARGE, sent)
    assert peak() - before < ALLOWANCE


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_a_path_of_fifteen_hundred_levels_is_refused(http, method):
    response = http.request(method, f"{FILES}/{'a/' * 1500}f", content=b"x" if method == "PUT" else None)
    assert response.status_code == 400
    assert "levels" in response.json()["message"]
