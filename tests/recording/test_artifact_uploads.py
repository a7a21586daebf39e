"""Uploads to a location outside of the state directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from mistk_service.recording.artifact_uploads import ArtifactUploads
from mistk_service.recording.file_queue import FileQueue
from mistk_service.tracking import open_store
from mistk_service.tracking.artifacts import AllowedLocations, open_artifacts
from mistk_service.tracking.embedded.local_tracking import OpenedTracking
from mistk_service.tracking.values import RunInfo


class Elsewhere(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A storage that raises what it is told to when it is opened."""

    protocol = "elsewhere"
    cachable = False
    store: dict[str, Any] = {}  # noqa: RUF012 - as in the base class
    failures: list[Exception] = []  # noqa: RUF012 - a test sets them

    def __init__(self, *args: Any, **options: Any) -> None:
        if self.failures:
            raise self.failures.pop()
        super().__init__(*args, **options)


@pytest.fixture(autouse=True)
def storage(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.register_implementation("elsewhere", Elsewhere, clobber=True)
    monkeypatch.setattr(Elsewhere, "store", {})
    monkeypatch.setattr(Elsewhere, "failures", [])


def upload(folder: Path, file: Path) -> tuple[list[str], list[str | None]]:
    """Upload a file to the storage; return the notes and the reasons for waiting."""
    notes: list[str] = []
    reasons: list[str | None] = []
    with open_store("sqlite://") as store:
        experiment = store.create_experiment("elsewhere", "elsewhere://bucket/files")
        run: RunInfo = store.create_run(experiment).info
        queue = FileQueue(reasons.append, delays=(0.0, 0.0))
        opened = OpenedTracking(store, open_artifacts(folder / "artifacts"))
        allowed = AllowedLocations(("elsewhere://bucket",))
        ArtifactUploads(opened, queue, notes.append, folder / "state", allowed).upload(run, file, "file.txt")
        queue.work()
    return notes, reasons


def test_a_storage_that_cannot_be_reached_when_it_is_opened_is_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    file.write_text("kept")
    Elsewhere.failures.append(ConnectionError("no route to the storage"))
    notes, reasons = upload(tmp_path, file)
    assert notes == []
    assert "no route to the storage" in str(reasons[0])
    assert reasons[-1] is None
    assert any(path.endswith("/file.txt") for path in Elsewhere.store)


def test_a_storage_that_refuses_its_settings_is_not_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    file.write_text("lost")
    Elsewhere.failures.append(TypeError("unknown setting"))
    notes, reasons = upload(tmp_path, file)
    assert ["unknown setting" in note for note in notes] == [True]
    assert [reason for reason in reasons if reason] == []
