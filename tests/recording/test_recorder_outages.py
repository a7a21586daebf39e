"""The recorder during outages of the store or the artifact storage: it reports them and loses nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from mistk_service.core.events import (
    ActivityBegan,
    ActivityEnded,
    ArtifactLogged,
    InstanceReset,
    WorkerStarted,
)
from mistk_service.tracking.errors import SchemaMismatch, StoreUnavailable
from tests.recording.harness import TRAINING, RecorderHarness, points
from tests.service.harness import wait_until
from tests.support.full_disk import Disk

pytestmark = pytest.mark.anyio


async def test_a_locked_database_is_reported_and_loses_nothing(
    harness: RecorderHarness, locked: sqlite3.Connection
) -> None:
    harness.recorder.start()
    harness.observe(*TRAINING, points(0, 50))
    await harness.until(lambda: "locked" in harness.shown.get("tracking", {}).get("error", ""))
    harness.observe(points(50, 100), ActivityEnded("train", "completed", 1.0))

    locked.execute("ROLLBACK")

    await harness.recorded()
    assert "error" not in harness.shown["tracking"]
    assert harness.steps() == list(range(100))
    await harness.close()
    assert harness.recorder.waiting == 0


async def test_a_full_disk_is_reported_and_loses_nothing(harness: RecorderHarness) -> None:
    harness.recorder.start()
    harness.observe(*TRAINING)
    await harness.recorded("RUNNING")

    disk = Disk(harness.store)
    disk.leave(2)
    harness.observe(*(points(first, first + 1000) for first in range(0, 20_000, 1000)))
    await harness.until(lambda: "full" in harness.shown["tracking"].get("error", ""))
    disk.clear()
    harness.observe(ActivityEnded("train", "completed", 1.0))

    await harness.recorded()
    assert harness.steps() == list(range(20_000))


@pytest.mark.parametrize("error", [StoreUnavailable("The disk is away."), SchemaMismatch("Of another version.")])
async def test_a_store_that_cannot_be_opened_is_tried_again(harness: RecorderHarness, error: Exception) -> None:
    harness.refusals = [error, error]
    harness.recorder.start()
    harness.observe(*TRAINING, points(0, 3))

    await harness.until(lambda: "error" in harness.shown.get("tracking", {}))
    await harness.until(lambda: "experimentId" in harness.shown.get("run", {}))

    assert "error" not in harness.shown["tracking"]
    await harness.close()
    assert harness.steps() == [0, 1, 2]


async def test_a_worker_that_reports_faster_than_is_written_is_held_back(
    harness: RecorderHarness, locked: sqlite3.Connection
) -> None:
    harness.record(high=2000, low=1000)
    harness.recorder.start()
    harness.observe(*TRAINING, points(0, 1900))
    assert harness.held == []

    harness.observe(points(1900, 2500), points(2500, 3000))

    assert harness.held == [True]
    locked.execute("ROLLBACK")
    await harness.until(lambda: harness.held == [True, False])
    await harness.close()
    assert harness.steps() == list(range(3000))


async def test_an_end_that_has_no_time_says_what_remains_and_leaves_it_to_the_next(
    harness: RecorderHarness, locked: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    harness.recorder.start()
    harness.observe(*TRAINING, points(0, 10))
    await harness.until(lambda: "error" in harness.shown.get("tracking", {}))

    await harness.close(0.2)

    assert "11 reports were not written" in caplog.text
    locked.execute("ROLLBACK")


@pytest.mark.parametrize(
    "error", [ImportError("No module named 'alembic'"), PermissionError(13, "Permission denied", "/x")]
)
async def test_whatever_keeps_the_store_from_being_opened_it_is_tried_again(
    harness: RecorderHarness, error: Exception
) -> None:
    harness.refusals = [error, error]
    harness.observe(*TRAINING)

    harness.recorder.start()

    await harness.until(lambda: type(error).__name__ in harness.shown.get("tracking", {}).get("error", ""))
    await harness.until(lambda: "error" not in harness.shown["tracking"])
    await harness.recorded("RUNNING")


async def test_no_report_waits_for_a_file_that_cannot_be_stored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    harness = RecorderHarness(tmp_path, artifact_locations=("file:///sys",))
    experiment = harness.store.create_experiment("away", "file:///sys/nowhere")
    (tmp_path / "a.txt").write_text("a")
    began = ActivityBegan("initialize", ([], {"mlflow.experimentId": experiment}, {}))
    harness.observe(began, ActivityEnded("initialize", "completed", 0.1), ActivityBegan("train"))
    harness.observe(ArtifactLogged(str(tmp_path / "a.txt"), None, None), points(0, 50))
    harness.observe(ActivityEnded("train", "completed", 1.0))

    harness.recorder.start()

    await harness.until(lambda: "cannot" in harness.shown.get("tracking", {}).get("artifactError", ""))
    await harness.until(lambda: (harness.shown.get("run") or {}).get("experimentId") == experiment)
    await asyncio.to_thread(wait_until, lambda: harness.recorder.waiting == 1)  # the file
    assert harness.shown["run"]["status"] == "FINISHED"
    assert harness.steps() == list(range(50))
    await harness.close()
    await harness.until(
        lambda: any("a.txt was not stored" in note for note in harness.shown["tracking"].get("notes", []))
    )
    assert not harness.options.locks.exists() or not list(harness.options.locks.iterdir())
    harness.store.close()


async def test_a_location_that_is_not_allowed_is_neither_written_nor_called(harness: RecorderHarness) -> None:
    experiment = harness.store.create_experiment("theirs", (harness.folder / "theirs").as_uri())
    (harness.folder / "a.txt").write_text("a")
    began = ActivityBegan("initialize", ([], {"mlflow.experimentId": experiment}, {}))
    harness.observe(began, ActivityEnded("initialize", "completed", 0.1), ActivityBegan("train"))
    harness.observe(ArtifactLogged(str(harness.folder / "a.txt"), None, None))

    harness.recorder.start()

    await harness.until(
        lambda: any("none is allowed" in note for note in harness.shown.get("tracking", {}).get("notes", []))
    )
    assert not (harness.folder / "theirs").exists()


async def test_where_nothing_is_to_be_tracked_the_end_waits_for_no_store(
    harness: RecorderHarness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.refusals = [StoreUnavailable("The folder cannot be written.")] * 10_000
    harness.recorder.start()
    harness.observe(WorkerStarted(0, 1), InstanceReset(), WorkerStarted(1, 2))
    await harness.until(lambda: "error" in harness.shown.get("tracking", {}))

    await harness.close(3600.0)

    assert harness.refusals
    assert "before everything is tracked" not in caplog.text


async def test_the_spool_of_a_container_that_never_had_a_store_is_removed_by_the_next(harness: RecorderHarness) -> None:
    harness.refusals = [StoreUnavailable("The database is away.")] * 100
    left = harness.options.spool
    left.mkdir(parents=True)
    harness.recorder.start()
    await harness.until(lambda: "error" in harness.shown.get("tracking", {}))
    await harness.close(0.0)
    await harness.ended()  # until then the lock says that this container lives
    assert left.exists()

    harness.refusals = []
    harness.options = replace(harness.options, container_id="the next")
    harness.record()
    harness.recorder.start()
    harness.observe(*TRAINING)
    await harness.recorded("RUNNING")

    assert not left.exists()
