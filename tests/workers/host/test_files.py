"""Paths are checked before an operation is accepted, and problems are reported."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mistk_service.errors import InvalidRequest
from mistk_service.workers.host.files import on_thread, remove_folders, require_readable, require_writable_folder


def test_a_file_and_a_folder_are_readable(tmp_path: Path):
    (tmp_path / "file").touch()
    require_readable(str(tmp_path / "file"), "dataPath")
    require_readable(str(tmp_path), "dataPath")


def test_a_relative_path_starts_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    require_readable("file", "dataPath")


@pytest.mark.parametrize("check", [require_readable, require_writable_folder])
@pytest.mark.parametrize("text", ["s3://bucket/key", "https://example.org/data.csv"])
def test_an_url_is_the_models_business(check, text: str):
    check(text, "dataPath")


@pytest.mark.parametrize("check", [require_readable, require_writable_folder])
@pytest.mark.parametrize("text", ["", "a\0b", "\ud800"])
def test_what_is_not_a_path_is_refused(check, text: str):
    with pytest.raises(InvalidRequest, match="is not a path") as caught:
        check(text, "dataPath")
    assert caught.value.field == "dataPath"
    str(caught.value).encode()


def test_what_does_not_exist_is_reported_with_where_it_was_looked_for(tmp_path: Path):
    with pytest.raises(InvalidRequest) as caught:
        require_readable(str(tmp_path / "nowhere"), "modelPath")
    assert str(caught.value).startswith("modelPath: ")
    assert "No such file or directory" in str(caught.value)
    assert str(Path.cwd()) in str(caught.value)


@pytest.mark.parametrize("check", [require_readable, require_writable_folder])
def test_a_path_that_is_far_too_long_is_refused(check, tmp_path: Path):
    with pytest.raises(InvalidRequest, match="File name too long"):
        check(str(tmp_path / ("x" * 5000)), "dataPath")


def test_a_named_pipe_does_not_hold_up_the_call(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    require_readable(str(tmp_path / "pipe"), "dataPath")


def test_a_folder_is_made_where_it_is_missing(tmp_path: Path):
    require_writable_folder(str(tmp_path / "a" / "b"), "modelPath")
    assert (tmp_path / "a" / "b").is_dir()
    require_writable_folder(str(tmp_path / "a" / "b"), "modelPath")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InvalidRequest, match="cannot be written"):
            require_writable_folder(str(path), "modelPath")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write and read everything")
def test_what_one_may_not_write_or_read_is_refused(tmp_path: Path):
    (tmp_path / "locked").mkdir(mode=0)
    for check in (require_readable, require_writable_folder):
        with pytest.raises(InvalidRequest, match="Permission denied"):
            check(str(tmp_path / "locked"), "modelPath")


@pytest.mark.parametrize("uri", ["models:/digits/1", "runs:/0123/model"])
def test_the_tracking_store_is_no_folder_to_write_to(uri: str):
    with pytest.raises(InvalidRequest, match="in the tracking store"):
        require_writable_folder(uri, "modelPath")


def test_a_place_where_nobody_may_write_is_refused():
    with pytest.raises(InvalidRequest, match="cannot be written"):
        require_writable_folder("/proc/nothing/here", "modelPath")


def test_folders_made_for_nothing_can_be_removed_and_no_others(tmp_path: Path):
    (tmp_path / "there").mkdir()
    made = require_writable_folder(str(tmp_path / "there" / "a" / "b"), "modelPath")
    remove_folders(made)
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]


def test_a_folder_that_has_been_put_to_use_stays(tmp_path: Path):
    made = require_writable_folder(str(tmp_path / "a" / "b"), "modelPath")
    (tmp_path / "a" / "file").touch()
    remove_folders(made)
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "file"]


def test_what_goes_wrong_on_the_thread_is_raised_where_it_is_awaited(tmp_path: Path):
    with pytest.raises(InvalidRequest, match="No such file or directory"):
        asyncio.run(on_thread(require_readable, str(tmp_path / "nowhere"), "dataPath"))


def test_a_file_system_that_never_answers_does_not_hold_the_end_of_the_process():
    hanging = (
        "import asyncio, threading\n"
        "from mistk_service.workers.host.files import on_thread\n"
        "async def main():\n"
        "    task = asyncio.create_task(on_thread(threading.Event().wait))\n"
        "    await asyncio.sleep(0)\n"
        "    task.cancel()\n"
        "asyncio.run(main())\n"
    )
    subprocess.run([sys.executable, "-c", hanging], check=True, timeout=30)
