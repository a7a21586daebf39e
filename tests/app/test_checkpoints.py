"""A checkpoint takes the place of the last one when it is complete, and an interruption leaves the last one."""

from __future__ import annotations

from pathlib import Path

import pytest

from mistk_service.app.checkpoints import complete, last_checkpoint, next_checkpoint, recover


def write(folder: Path, **texts: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)


def contents(folder: Path) -> dict[str, str]:
    files = (each for each in folder.rglob("*") if each.is_file())
    return {file.relative_to(folder).as_posix(): file.read_text() for file in files}


def test_what_is_complete_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    write(tmp_path, other="mine")
    write(next_checkpoint(tmp_path), weights="old", stale="old")
    complete(tmp_path)
    recover(tmp_path)
    write(next_checkpoint(tmp_path), weights="new")
    write(next_checkpoint(tmp_path) / "deep", optimizer="new")
    (next_checkpoint(tmp_path) / "latest").symlink_to("weights")
    complete(tmp_path)
    assert contents(next_checkpoint(tmp_path)) == {"weights": "new", "latest": "new", "deep/optimizer": "new"}
    recover(tmp_path)
    assert contents(last_checkpoint(tmp_path)) == {"weights": "new", "latest": "new", "deep/optimizer": "new"}
    assert (last_checkpoint(tmp_path) / "latest").is_symlink()
    last_checkpoint(tmp_path).rename(tmp_path / "moved")
    assert {each.name for each in tmp_path.iterdir()} == {"moved", "other"}


def test_what_is_not_complete_is_discarded(tmp_path: Path) -> None:
    write(next_checkpoint(tmp_path), weights="old")
    complete(tmp_path)
    recover(tmp_path)
    write(next_checkpoint(tmp_path), weights="ne")
    recover(tmp_path)
    assert contents(tmp_path) == {f"{last_checkpoint(tmp_path).name}/weights": "old"}


def test_a_folder_that_does_not_exist_has_nothing_to_recover(tmp_path: Path) -> None:
    recover(tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == []


def test_what_was_complete_and_not_in_place_is_put_there_by_the_next_job(tmp_path: Path) -> None:
    last_checkpoint(tmp_path).touch()
    write(next_checkpoint(tmp_path), weights="new")
    with pytest.raises(NotADirectoryError):
        complete(tmp_path)
    last_checkpoint(tmp_path).unlink()
    recover(tmp_path)
    assert contents(tmp_path) == {f"{last_checkpoint(tmp_path).name}/weights": "new"}
