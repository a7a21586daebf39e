"""The recorder's thread: it delays nothing, loses nothing while the store is unavailable, and ends in order."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mistk_service.core.events import (
    ActivityBegan,
    ActivityEnded,
    ArtifactLogged,
    InstanceReset,
    MetricsReported,
    PredictionAnswered,
    WorkerStarted,
)
from mistk_service.deadline import Deadline
from mistk_service.kinds.model import MODEL
from mistk_service.recording import Recorder, RecorderOptions
from mistk_service.recording.liveness import ContainerLock
from mistk_service.tracking import open_store
from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.embedded.local import OpenedTracking
from mistk_service.tracking.errors import SchemaMismatch, StoreUnavailable
from mistk_service.tracking.sql import SqlStore
from mistk_service.tracking.values import Run, Tag
from tests.recording.conftest import CONTAINER, tags_of
from tests.service.harness import wait_until
from tests.support.full_disk import Disk

PATIENCE = 30.0
INITIALIZED = [ActivityBegan("initialize", ([], {}, {"epochs": 1})), ActivityEnded("initialize", "completed", 0.1)]
TRAINING = [*INITIALIZED, ActivityBegan("train")]


class Harness:
    """A recorder with a store in a file, and what it shows and requests.

    Attributes:
        refusals: errors that opening the store raises first.
    """

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.refusals: list[Exception] = []
        self.shown: dict[str, Any] = {}
        self.held: list[bool] = []
        self._news = asyncio.Event()
        self.store = SqlStore.open(f"sqlite:///{folder / 'store.db'}", lock_timeout=0.05)
        self.opened = OpenedTracking(self.store, open_artifacts(folder / "artifacts"))
        self.options = RecorderOptions(
            MODEL, CONTAINER, "Digits", "digits:Digits", folder / "state", lambda: "1", **options
        )
        self.recorder: Recorder
        self.overdue: list[threading.Thread] = []
        self.record()

    def record(self, **options: Any) -> None:
        """Make a new recorder."""
        self.recorder = Recorder(self.open, self.options, show=self._show, hold=self._hold, **options)

    def open(self) -> OpenedTracking:
        if self.refusals:
            raise self.refusals.pop(0)
        return self.opened

    def _show(self, key: str, value: Any) -> None:
        self.shown[key] = value
        self._news.set()

    def _hold(self, held: bool) -> None:
        self.held.append(held)
        self._news.set()

    def observe(self, *events: Any) -> None:
        for event in events:
            self.recorder.observe(event)

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait for something that the recorder shows or requests."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def stored(self) -> None:
        """Wait until files, too, are where they belong."""
        await asyncio.to_thread(wait_until, lambda: not self.recorder.waiting)

    async def recorded(self, status: str = "FINISHED") -> None:
        """Wait until the run stands so, and all that was observed is written."""
        await self.until(lambda: (self.shown.get("run") or {}).get("status") == status)
        await self.stored()
        await self.until(lambda: "experimentId" in self.shown["run"])

    async def close(self, seconds: float = PATIENCE) -> None:
        deadline = Deadline(seconds)
        await asyncio.to_thread(self.recorder.close, deadline)
        self.overdue = deadline.overdue

    async def ended(self) -> None:
        """Wait for the end of a recorder that had no time for it: it does not wait for the store any more."""
        for thread in self.overdue:
            await asyncio.to_thread(thread.join, PATIENCE)

    @property
    def runs(self) -> list[Run]:
        with open_store(f"sqlite:///{self.folder / 'store.db'}") as store:
            experiments = [experiment.experiment_id for experiment in store.search_experiments()]
            return [store.get_run(run.info.run_id) for run in store.search_runs(experiments)]

    def steps(self, key: str = "loss") -> list[int]:
        """The steps of a metric of the one run."""
        (run,) = self.runs
        return [point.step for point in self.store.get_metric_history(run.info.run_id, key)]


@pytest.fixture
async def harness(tmp_path: Path, anyio_backend: str) -> Any:
    harness = Harness(tmp_path)
    yield harness
    await harness.close(0.0)
    await harness.ended()  # what it still has to say belongs to this test
    harness.store.close()


def points(first: int, last: int) -> MetricsReported:
    return MetricsReported(tuple(("loss", step / 7, step, step) for step in range(first, last)))


@pytest.fixture
def locked(harness: Harness) -> Iterator[sqlite3.Connection]:
    """Another process that has locked the database."""
    connection = sqlite3.connect(harness.folder / "store.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    yield connection
    connection.close()


pytestmark = pytest.mark.anyio


async def test_what_was_observed_before_the_start_is_written_after_it(harness: Harness) -> None:
    harness.observe(*TRAINING, points(0, 3))

    harness.recorder.start()

    await harness.recorded("RUNNING")
    harness.observe(ActivityEnded("train", "completed", 1.0))
    await harness.recorded()
    (run,) = harness.runs
    assert harness.shown["run"] == {
        "id": run.info.run_id,
        "name": run.info.run_name,
        "experimentId": run.info.experiment_id,
        "status": "FINISHED",
        "link": f"/api/2.0/mlflow/runs/get?run_id={run.info.run_id}",
    }
    assert harness.shown["tracking"] == {"store": harness.store.uri}
    assert harness.steps() == [0, 1, 2]


async def test_a_locked_database_is_told_and_loses_nothing(harness: Harness, locked: sqlite3.Connection) -> None:
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


async def test_a_full_disk_is_told_and_loses_nothing(harness: Harness) -> None:
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
async def test_a_store_that_cannot_be_opened_is_tried_again(harness: Harness, error: Exception) -> None:
    harness.refusals = [error, error]
    harness.recorder.start()
    harness.observe(*TRAINING, points(0, 3))

    await harness.until(lambda: "error" in harness.shown.get("tracking", {}))
    await harness.until(lambda: "experimentId" in harness.shown.get("run", {}))

    assert "error" not in harness.shown["tracking"]
    await harness.close()
    assert harness.steps() == [0, 1, 2]


async def test_a_worker_that_reports_faster_than_is_written_is_held_back(
    harness: Harness, locked: sqlite3.Connection
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


async def test_the_end_writes_everything_first_and_kills_what_runs(harness: Harness) -> None:
    lock = harness.options.locks / f"{CONTAINER}.lock"
    harness.recorder.start()
    harness.observe(*TRAINING)
    await harness.recorded("RUNNING")
    assert lock.exists()
    for first in range(0, 50_000, 500):
        harness.observe(points(first, first + 500))

    await harness.close()

    assert [run.info.status.name for run in harness.runs] == ["KILLED"]
    assert harness.steps() == list(range(50_000))
    assert not lock.exists()


async def test_an_end_that_has_no_time_says_what_remains_and_leaves_it_to_the_next(
    harness: Harness, locked: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    harness.recorder.start()
    harness.observe(*TRAINING, points(0, 10))
    await harness.until(lambda: "error" in harness.shown.get("tracking", {}))

    await harness.close(0.2)

    assert "11 reports were not written" in caplog.text
    locked.execute("ROLLBACK")


async def test_runs_of_the_dead_are_ended_and_what_they_left_is_removed(harness: Harness) -> None:
    dead, alive = "dead-container", "living-container"
    experiment = harness.store.create_experiment("others")
    runs = {
        name: harness.store.create_run(experiment, tags=[Tag("mistk.containerId", name)]).info.run_id
        for name in (dead, alive, "on another machine")
    }
    with_lock = {name: ContainerLock(harness.options.locks, name) for name in (dead, alive)}
    for lock in with_lock.values():
        assert lock.hold()
    with_lock[dead].abandon()
    spool = harness.options.state_dir / "spool" / dead
    spool.mkdir(parents=True)

    harness.recorder.start()
    harness.observe(*TRAINING)
    await harness.recorded("RUNNING")

    found = {name: harness.store.get_run(run_id) for name, run_id in runs.items()}
    assert {name: run.info.status.name for name, run in found.items()} == {
        dead: "FAILED",
        alive: "RUNNING",
        "on another machine": "RUNNING",
    }
    assert "ContainerKilled" in tags_of(found[dead])["mistk.failure"]
    assert not spool.exists()
    assert sorted(path.stem for path in harness.options.locks.iterdir()) == sorted([CONTAINER, alive])
    with_lock[alive].release()


async def test_stream_predictions_are_totalled_and_written_at_the_end(harness: Harness) -> None:
    harness.recorder.start()
    harness.observe(*TRAINING, ActivityEnded("train", "completed", 1.0))
    harness.observe(*(PredictionAnswered(2, 0.5, number > 0) for number in range(1000)))
    assert harness.recorder.waiting < 100

    harness.observe(InstanceReset(), PredictionAnswered(1, 1.0, True))
    await harness.close()

    (run,) = harness.runs
    metrics = {metric.key: metric.value for metric in run.data.metrics}
    assert metrics["mistk/stream_predict_count"] == 1000
    assert metrics["mistk/stream_predict_records"] == 2000
    assert metrics["mistk/stream_predict_failed"] == 1
    assert metrics["mistk/stream_predict_seconds"] == 500.0


async def test_stream_predictions_are_totalled_also_where_something_else_never_rests(
    harness: Harness,
) -> None:
    now = 1000.0
    harness.record(clock=lambda: now)
    answered = PredictionAnswered(2, 0.5, True)
    harness.observe(*TRAINING)
    waiting = harness.recorder.waiting

    harness.observe(answered, answered)
    assert harness.recorder.waiting == waiting
    now += 3600.0
    harness.observe(answered, answered)
    assert harness.recorder.waiting == waiting + 1

    harness.recorder.start()
    await harness.close()
    (run,) = harness.runs
    for key, values in (("count", [3.0, 4.0]), ("records", [6.0, 8.0])):
        history = harness.store.get_metric_history(run.info.run_id, f"mistk/stream_predict_{key}")
        assert [point.value for point in history] == values


async def test_what_a_worker_left_in_the_spool_is_removed_at_a_reset_and_what_it_handed_over_is_kept(
    harness: Harness, locked: sqlite3.Connection
) -> None:
    spool = harness.options.spool
    spool.mkdir(parents=True)
    (spool / "handed-over").write_text("kept")
    (spool / "half").write_text("a part")
    (spool / "half-folder").mkdir()
    (spool / "half-folder" / "file").write_text("a part")
    harness.recorder.start()

    harness.observe(*TRAINING, ArtifactLogged("/model/a.txt", None, str(spool / "handed-over")), InstanceReset())
    (spool / "of-the-next-worker").write_text("new")
    locked.rollback()
    harness.observe(*TRAINING, ActivityEnded("train", "completed", 1.0))
    await harness.recorded()

    assert [path.name for path in spool.iterdir()] == ["of-the-next-worker"]
    (first,) = [run for run in harness.runs if run.info.status.name == "KILLED"]
    assert list((harness.folder / "artifacts").rglob(f"{first.info.run_id}/artifacts/a.txt"))


@pytest.mark.parametrize(
    "error", [ImportError("No module named 'alembic'"), PermissionError(13, "Permission denied", "/x")]
)
async def test_whatever_keeps_the_store_from_being_opened_it_is_tried_again(harness: Harness, error: Exception) -> None:
    harness.refusals = [error, error]
    harness.observe(*TRAINING)

    harness.recorder.start()

    await harness.until(lambda: type(error).__name__ in harness.shown.get("tracking", {}).get("error", ""))
    await harness.until(lambda: "error" not in harness.shown["tracking"])
    await harness.recorded("RUNNING")


async def test_no_report_waits_for_a_file_that_cannot_be_stored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    harness = Harness(tmp_path, artifact_locations=("file:///sys",))
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


async def test_a_location_that_is_not_allowed_is_neither_written_nor_called(harness: Harness) -> None:
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
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.refusals = [StoreUnavailable("The folder cannot be written.")] * 10_000
    harness.recorder.start()
    harness.observe(WorkerStarted(0, 1), InstanceReset(), WorkerStarted(1, 2))
    await harness.until(lambda: "error" in harness.shown.get("tracking", {}))

    await harness.close(3600.0)

    assert harness.refusals
    assert "before everything is tracked" not in caplog.text


async def test_the_spool_of_a_container_that_never_had_a_store_is_removed_by_the_next(harness: Harness) -> None:
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


async def test_a_mistake_of_ours_costs_what_it_concerns(harness: Harness) -> None:
    forgotten: Any = None
    harness.recorder.start()
    harness.observe(*TRAINING, ArtifactLogged(forgotten, None, None), points(0, 3))

    await harness.until(lambda: "Something could not be tracked" in str(harness.shown.get("tracking", {}).get("notes")))

    await harness.close()
    assert harness.steps() == [0, 1, 2]


async def test_a_reporter_that_was_never_started_ends_at_once(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.observe(WorkerStarted(0, 1))

    await harness.close()

    assert caplog.text == ""
