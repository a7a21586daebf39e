"""One suite for every kind of artifact repository, and tests of the local one."""

import os
import threading
import uuid

import psutil
import pytest

from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.artifacts.paths import SCRATCH
from mistk_service.tracking.errors import InvalidParameter, ResourceNotFound, StoreUnavailable, UnsupportedStore
from mistk_service.tracking.values import FileInfo


@pytest.fixture(params=["local", "memory", "s3"])
def artifacts(request, tmp_path):
    match request.param:
        case "local":
            return open_artifacts(tmp_path / "artifacts")
        case "memory":
            return open_artifacts(f"memory://{uuid.uuid4().hex}/artifacts")
        case _:
            return open_artifacts(f"s3://{request.getfixturevalue('bucket')}/artifacts")


@pytest.fixture
def local(tmp_path):
    return open_artifacts(tmp_path / "artifacts")


def put(artifacts, path, data=b"data"):
    upload = artifacts.create(path)
    upload.write(data)
    upload.commit()


def get(artifacts, path):
    with artifacts.open(path) as stored:
        return stored.stream.read()


def test_what_was_uploaded_comes_back(artifacts):
    put(artifacts, "0/run/artifacts/model.bin", b"\x00\xff" * 1000)
    assert get(artifacts, "0/run/artifacts/model.bin") == b"\x00\xff" * 1000


def test_an_empty_file_is_a_file(artifacts):
    put(artifacts, "a/empty", b"")
    assert get(artifacts, "a/empty") == b""
    assert artifacts.list_folder("a") == [FileInfo("empty", is_dir=False, file_size=0)]


def test_a_folder_is_listed_by_base_names_in_order(artifacts):
    for path in ("d/b.txt", "d/a/deep/x", "d/c.txt"):
        put(artifacts, path, b"12345")
    assert artifacts.list_folder("d") == [
        FileInfo("a", is_dir=True),
        FileInfo("b.txt", is_dir=False, file_size=5),
        FileInfo("c.txt", is_dir=False, file_size=5),
    ]
    assert artifacts.list_folder("") == [FileInfo("d", is_dir=True)]


@pytest.mark.parametrize("path", ["", "nowhere", "d/b.txt", "d/b.txt/below"])
def test_what_is_not_a_folder_has_nothing_in_it(artifacts, path):
    if path.startswith("d"):
        put(artifacts, "d/b.txt")
    assert artifacts.list_folder(path) == []


def test_nothing_is_seen_of_an_upload_before_it_is_complete(artifacts):
    put(artifacts, "d/f", b"old")
    upload = artifacts.create("d/f")
    upload.write(b"new and longer")
    assert get(artifacts, "d/f") == b"old"
    assert artifacts.list_folder("d") == [FileInfo("f", is_dir=False, file_size=3)]
    assert artifacts.list_folder() == [FileInfo("d", is_dir=True)]
    upload.commit()
    assert get(artifacts, "d/f") == b"new and longer"


def test_an_aborted_upload_leaves_what_was_there(artifacts):
    put(artifacts, "d/f", b"old")
    upload = artifacts.create("d/f")
    upload.write(b"new")
    upload.abort()
    assert get(artifacts, "d/f") == b"old"


def test_the_etag_changes_with_the_content(artifacts):
    put(artifacts, "f", b"one")
    with artifacts.open("f") as first, artifacts.open("f") as again:
        assert first.etag == again.etag
    put(artifacts, "f", b"two")
    with artifacts.open("f") as second:
        assert second.etag != first.etag


@pytest.mark.parametrize("path", ["missing", "d", "d/f/below", ""])
def test_opening_what_is_not_a_file_says_so(artifacts, path):
    put(artifacts, "d/f")
    with pytest.raises(ResourceNotFound, match="No such artifact"):
        artifacts.open(path)


@pytest.mark.parametrize("path", ["d", ""])
def test_a_folder_is_not_replaced_by_a_file(artifacts, path):
    put(artifacts, "d/f")
    with pytest.raises(InvalidParameter):
        artifacts.create(path)
    assert get(artifacts, "d/f") == b"data"


def test_a_file_is_not_turned_into_a_folder(local):
    put(local, "f", b"precious")
    upload = local.create("f/below")
    with pytest.raises(InvalidParameter):
        upload.commit()
    upload.abort()
    assert get(local, "f") == b"precious"


def test_files_and_folders_are_deleted_with_what_is_in_them(artifacts):
    for path in ("d/a", "d/sub/b", "e/c"):
        put(artifacts, path)
    artifacts.delete("d/a")
    assert artifacts.list_folder("d") == [FileInfo("sub", is_dir=True)]
    artifacts.delete("d")
    assert artifacts.list_folder() == [FileInfo("e", is_dir=True)]


def test_deleting_what_is_not_there_is_no_error(artifacts):
    artifacts.delete("never/was")


def test_the_root_cannot_be_deleted(artifacts):
    put(artifacts, "f")
    with pytest.raises(InvalidParameter):
        artifacts.delete("./")
    assert get(artifacts, "f") == b"data"


@pytest.mark.parametrize("call", ["list_folder", "open", "create", "delete"])
@pytest.mark.parametrize("path", ["../x", "a/../../x", "/x", "a\x00b", SCRATCH])
def test_every_call_checks_the_path(artifacts, call, path):
    with pytest.raises(InvalidParameter):
        getattr(artifacts, call)(path)


def test_concurrent_uploads_of_one_file_leave_one_of_them_whole(artifacts):
    contents = [bytes([n]) * 50_000 for n in range(8)]
    threads = [threading.Thread(target=put, args=(artifacts, "d/f", content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert get(artifacts, "d/f") in contents


def test_a_reader_keeps_the_file_that_it_opened(local):
    put(local, "f", b"old")
    with local.open("f") as stored:
        put(local, "f", b"new")
        assert stored.stream.read() == b"old"


def test_links_that_lead_out_of_the_root_are_not_followed(local, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    root = tmp_path / "artifacts"
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    for call, path in [
        ("open", "file"),
        ("open", "folder/secret"),
        ("list_folder", "folder"),
        ("create", "folder/new"),
    ]:
        with pytest.raises(InvalidParameter, match="leads out"):
            getattr(local, call)(path)
    with pytest.raises(InvalidParameter, match="leads out"):
        local.delete("folder/secret")
    assert local.list_folder() == []
    local.delete("folder")
    put(local, "file", b"mine")
    assert (outside / "secret").read_text() == "secret"
    assert get(local, "file") == b"mine"


def test_links_that_stay_inside_the_root_are_followed(local, tmp_path):
    put(local, "real/f")
    (tmp_path / "artifacts" / "link").symlink_to(tmp_path / "artifacts" / "real")
    assert get(local, "link/f") == b"data"
    assert [info.path for info in local.list_folder()] == ["link", "real"]


def test_a_link_to_itself_is_listed_as_nothing_and_cannot_be_opened(local, tmp_path):
    (tmp_path / "artifacts" / "loop").symlink_to("loop")
    assert local.list_folder() == []
    with pytest.raises((ResourceNotFound, InvalidParameter)):
        local.open("loop")


def test_a_name_that_is_too_long_is_the_callers_mistake(local):
    with pytest.raises(InvalidParameter, match="too long"):
        put(local, "x" * 300)


def test_a_full_disk_is_reported_as_unavailable_and_leaves_nothing(local, tmp_path):
    upload = local.create("f")
    (partial,) = (tmp_path / "artifacts" / SCRATCH).iterdir()
    (written,) = [file.fd for file in psutil.Process().open_files() if file.path == str(partial)]
    with open("/dev/full", "wb") as full:
        os.dup2(full.fileno(), written)  # every write to it finds no space
    with pytest.raises(StoreUnavailable, match="No space left"):
        upload.write(b"data")
    upload.abort()
    assert list((tmp_path / "artifacts" / SCRATCH).iterdir()) == []


def test_the_remains_of_uploads_that_died_are_removed_when_they_are_old(tmp_path):
    scratch = tmp_path / SCRATCH
    scratch.mkdir()
    (scratch / "old").write_text("x")
    (scratch / "young").write_text("x")
    os.utime(scratch / "old", (0, 0))
    open_artifacts(tmp_path)
    assert [rest.name for rest in scratch.iterdir()] == ["young"]


def test_an_upload_that_is_under_way_is_left_alone_however_long_it_takes(tmp_path):
    upload = open_artifacts(tmp_path).create("file")
    upload.write(b"data")
    (rest,) = (tmp_path / SCRATCH).iterdir()
    os.utime(rest, (0, 0))
    open_artifacts(tmp_path)
    upload.commit()
    assert (tmp_path / "file").read_bytes() == b"data"


def test_a_root_is_a_path_or_a_url(tmp_path):
    assert open_artifacts(str(tmp_path)).uri == tmp_path.as_uri()
    assert open_artifacts((tmp_path / "a b").as_uri()).uri == (tmp_path / "a b").as_uri()
    assert (tmp_path / "a b").is_dir()


@pytest.mark.parametrize("uri", ["nosuch://host/path", "file://elsewhere/path"])
def test_a_root_of_an_unknown_kind_is_refused(uri):
    with pytest.raises(UnsupportedStore):
        open_artifacts(uri)


def test_a_root_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        InvalidParameter, match="file/below' cannot be created or written: a part of its path is a file"
    ):
        open_artifacts(tmp_path / "file" / "below")
    with pytest.raises(StoreUnavailable, match="'/proc/none' cannot be created or written: No such file"):
        open_artifacts("/proc/none")


def test_a_url_is_shown_without_its_password():
    artifacts = open_artifacts("memory://user:secret@host/path")
    assert "secret" not in artifacts.uri
    assert "secret" not in repr(artifacts)


@pytest.mark.parametrize("move", [True, False])
def test_a_file_of_this_machine_is_stored_in_place_of_another(artifacts, tmp_path, move):
    put(artifacts, "folder/file", b"before")
    source = tmp_path / "source"
    source.write_bytes(b"after")

    artifacts.put_file("folder/file", source, move=move)

    with artifacts.open("folder/file") as stored:
        assert stored.stream.read() == b"after"
    assert source.exists() is not move


@pytest.mark.parametrize("move", [True, False])
def test_a_file_that_is_missing_is_the_callers_mistake_and_changes_nothing(artifacts, tmp_path, move):
    put(artifacts, "file", b"before")

    with pytest.raises(FileNotFoundError):
        artifacts.put_file("file", tmp_path / "missing", move=move)

    with artifacts.open("file") as stored:
        assert stored.stream.read() == b"before"


def test_a_file_that_cannot_be_moved_to_its_place_stays(local, tmp_path):
    put(local, "folder/file")
    source = tmp_path / "source"
    source.write_bytes(b"x")

    for path in ("folder", "folder/file/below", "../outside"):
        with pytest.raises(InvalidParameter):
            local.put_file(path, source, move=True)

    assert source.read_bytes() == b"x"


def test_a_link_that_may_be_moved_is_stored_as_the_file_that_it_leads_to(local, tmp_path):
    target, source = tmp_path / "target", tmp_path / "source"
    target.write_bytes(b"x")
    source.symlink_to(target)

    local.put_file("file", source, move=True)

    assert target.exists()
    assert not source.exists()
    with local.open("file") as stored:
        assert stored.stream.read() == b"x"


def make_deep(folder, levels):
    """Make folders in one another, with a file in each; deeper than a path may be long."""
    folder.mkdir()
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        os.mkdir("level", dir_fd=here)
        below = os.open("level", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def test_a_tree_of_any_depth_can_be_deleted(tmp_path):
    local = open_artifacts(tmp_path / "root")
    make_deep(tmp_path / "root" / "deep", 1500)
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "root" / "deep" / "link").symlink_to(outside)
    local.delete("deep")
    assert [file.name for file in (tmp_path / "root").iterdir()] == [SCRATCH]
    assert list((tmp_path / "root" / SCRATCH).iterdir()) == []
    assert outside.is_dir()


def test_what_a_removal_that_was_cut_off_has_left_is_removed_at_the_next_start(tmp_path):
    open_artifacts(tmp_path / "root")
    make_deep(tmp_path / "root" / SCRATCH / "0123", 10)
    open_artifacts(tmp_path / "root")
    assert list((tmp_path / "root" / SCRATCH).iterdir()) == []
