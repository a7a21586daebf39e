"""The reporter's thread: it holds nobody up, loses nothing while the store is away, and ends in order."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event as database_event

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
from mistk_service.recording import Reporter, ReporterOptions
from mistk_service.recording import recorder as module
from mistk_service.recording.liveness import ContainerLock
from mistk_service.tracking import open_store
from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.embedded.local import OpenedTracking
from mistk_service.tracking.errors import SchemaMismatch, StoreUnavailable
from mistk_service.tracking.sql import SqlStore
from mistk_service.tracking.values import Run, Tag
from tests.recording.conftest import CONTAINER, tags_of
from tests.service.harness import wait_until

PATIENCE = 30.0
INITIALIZED = [ActivityBegan("initialize", ([], {}, {"epochs": 1})), ActivityEnded("initialize", "completed", 0.1)]
TRAINING = [*INITIALIZED, ActivityBegan("train")]


class Desk:
    """A reporter over a store in a file, and what it shows and asks for.

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
        self.options = ReporterOptions(
            MODEL, CONTAINER, "Digits", "digits:Digits", folder / "state", lambda: "1", **options
        )
        self.reporter = Reporter(self, self.options, show=self._show, hold=self._hold)

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
            self.reporter.observe(event)

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait for something that the reporter shows or asks for."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def stored(self) -> None:
        """Wait until files, too, are where they belong."""
        await asyncio.to_thread(wait_until, lambda: not self.reporter.waiting)

    async def recorded(self, status: str = "FINISHED") -> None:
        """Wait until the run stands so, and all that was observed is written."""
        await self.until(lambda: (self.shown.get("run") or {}).get("status") == status)
        await self.stored()
        await self.until(lambda: "experimentId" in self.shown["run"])

    async def close(self, seconds: float = PATIENCE) -> None:
        await asyncio.to_thread(self.reporter.close, Deadline(seconds))

    async def ended(self) -> None:
        """Wait for the end of the reporter's thread, which does not wait for the store any more."""
        if self.reporter._thread.ident is not None:
            await asyncio.to_thread(self.reporter._thread.join, PATIENCE)

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
async def desk(tmp_path: Path, anyio_backend: str) -> Any:
    desk = Desk(tmp_path)
    yield desk
    await desk.close(0.0)
    await desk.ended()  # what it still has to say belongs to this test
    desk.store.close()


def points(first: int, last: int) -> MetricsReported:
    return MetricsReported(tuple(("loss", step / 7, step, step) for step in range(first, last)))


@pytest.fixture
def locked(desk: Desk) -> Iterator[sqlite3.Connection]:
    """Another process that has locked the database."""
    connection = sqlite3.connect(desk.folder / "store.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    yield connection
    connection.close()


pytestmark = pytest.mark.anyio


async def test_what_was_observed_before_the_start_is_written_after_it(desk: Desk) -> None:
    desk.observe(*TRAINING, points(0, 3))

    desk.reporter.start()

    await desk.recorded("RUNNING")
    desk.observe(ActivityEnded("train", "completed", 1.0))
    await desk.recorded()
    (run,) = desk.runs
    assert desk.shown["run"] == {
        "id": run.info.run_id,
        "name": run.info.run_name,
        "experimentId": run.info.experiment_id,
        "status": "FINISHED",
        "link": f"/api/2.0/mlflow/runs/get?run_id={run.info.run_id}",
    }
    assert desk.shown["tracking"] == {"store": desk.store.uri}
    assert desk.steps() == [0, 1, 2]


async def test_a_locked_database_is_told_and_loses_nothing(desk: Desk, locked: sqlite3.Connection) -> None:
    desk.reporter.start()
    desk.observe(*TRAINING, points(0, 50))
    await desk.until(lambda: "locked" in desk.shown.get("tracking", {}).get("error", ""))
    desk.observe(points(50, 100), ActivityEnded("train", "completed", 1.0))

    locked.execute("ROLLBACK")

    await desk.recorded()
    assert "error" not in desk.shown["tracking"]
    assert desk.steps() == list(range(100))
    await desk.close()
    assert desk.reporter.waiting == 0


async def test_a_full_disk_is_told_and_loses_nothing(desk: Desk) -> None:
    desk.reporter.start()
    desk.observe(*TRAINING)
    await desk.recorded("RUNNING")

    @database_event.listens_for(desk.store._db.engine, "checkout")
    def limit(connection: Any, *_: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 2 if full.is_set() else 1_000_000}")

    full = threading.Event()
    full.set()
    desk.store._db._writer._drop_connection()
    desk.observe(*(points(first, first + 1000) for first in range(0, 20_000, 1000)))
    await desk.until(lambda: "full" in desk.shown["tracking"].get("error", ""))
    full.clear()
    desk.store._db._writer._drop_connection()
    desk.observe(ActivityEnded("train", "completed", 1.0))

    await desk.recorded()
    assert desk.steps() == list(range(20_000))


@pytest.mark.parametrize(
    "error", [StoreUnavailable("The disk is away."), SchemaMismatch("Of another version.", found="x", expected="y")]
)
async def test_a_store_that_cannot_be_opened_is_tried_again(desk: Desk, error: Exception) -> None:
    desk.refusals = [error, error]
    desk.reporter.start()
    desk.observe(*TRAINING, points(0, 3))

    await desk.until(lambda: "error" in desk.shown.get("tracking", {}))
    await desk.until(lambda: "experimentId" in desk.shown.get("run", {}))

    assert "error" not in desk.shown["tracking"]
    await desk.close()
    assert desk.steps() == [0, 1, 2]


async def test_a_worker_that_reports_faster_than_is_written_is_held_back(
    desk: Desk, locked: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HIGH", 2000)
    monkeypatch.setattr(module, "LOW", 1000)
    desk.reporter.start()
    desk.observe(*TRAINING, points(0, 1900))
    assert desk.held == []

    desk.observe(points(1900, 2500), points(2500, 3000))

    assert desk.held == [True]
    locked.execute("ROLLBACK")
    await desk.until(lambda: desk.held == [True, False])
    await desk.close()
    assert desk.steps() == list(range(3000))


async def test_the_end_writes_everything_first_and_kills_what_runs(desk: Desk) -> None:
    lock = desk.options.locks / f"{CONTAINER}.lock"
    desk.reporter.start()
    desk.observe(*TRAINING)
    await desk.recorded("RUNNING")
    assert lock.exists()
    for first in range(0, 50_000, 500):
        desk.observe(points(first, first + 500))

    await desk.close()

    assert [run.info.status.name for run in desk.runs] == ["KILLED"]
    assert desk.steps() == list(range(50_000))
    assert not lock.exists()


async def test_an_end_that_has_no_time_says_what_remains_and_leaves_it_to_the_next(
    desk: Desk, locked: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    desk.reporter.start()
    desk.observe(*TRAINING, points(0, 10))
    await desk.until(lambda: "error" in desk.shown.get("tracking", {}))

    await desk.close(0.2)

    assert "11 reports were not written" in caplog.text
    locked.execute("ROLLBACK")


async def test_runs_of_the_dead_are_ended_and_what_they_left_is_removed(desk: Desk) -> None:
    dead, alive = "dead-container", "living-container"
    experiment = desk.store.create_experiment("others")
    runs = {
        name: desk.store.create_run(experiment, tags=[Tag("mistk.containerId", name)]).info.run_id
        for name in (dead, alive, "on another machine")
    }
    with_lock = {name: ContainerLock(desk.options.locks, name) for name in (dead, alive)}
    for lock in with_lock.values():
        assert lock.hold()
    with_lock[dead].abandon()
    spool = desk.options.state_dir / "spool" / dead
    spool.mkdir(parents=True)

    desk.reporter.start()
    desk.observe(*TRAINING)
    await desk.recorded("RUNNING")

    found = {name: desk.store.get_run(run_id) for name, run_id in runs.items()}
    assert {name: run.info.status.name for name, run in found.items()} == {
        dead: "FAILED",
        alive: "RUNNING",
        "on another machine": "RUNNING",
    }
    assert "ContainerKilled" in tags_of(found[dead])["mistk.failure"]
    assert not spool.exists()
    assert sorted(path.stem for path in desk.options.locks.iterdir()) == sorted([CONTAINER, alive])
    with_lock[alive].release()


async def test_stream_predictions_are_totalled_and_written_at_the_end(desk: Desk) -> None:
    desk.reporter.start()
    desk.observe(*TRAINING, ActivityEnded("train", "completed", 1.0))
    desk.observe(*(PredictionAnswered(2, 0.5, number > 0) for number in range(1000)))
    assert desk.reporter.waiting < 100

    desk.observe(InstanceReset(), PredictionAnswered(1, 1.0, True))
    await desk.close()

    (run,) = desk.runs
    metrics = {metric.key: metric.value for metric in run.data.metrics}
    assert metrics["mistk/stream_predict_count"] == 1000
    assert metrics["mistk/stream_predict_records"] == 2000
    assert metrics["mistk/stream_predict_failed"] == 1
    assert metrics["mistk/stream_predict_seconds"] == 500.0


async def test_stream_predictions_are_totalled_also_where_something_else_never_rests(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[Any] = []
    monkeypatch.setattr(desk.reporter, "_put", handed.append)
    answered = PredictionAnswered(2, 0.5, True)

    desk.observe(answered, answered)
    assert handed == []
    # A while later:
    desk.reporter._totals_due = time.monotonic()
    desk.observe(answered, answered)

    assert [(totals.count, totals.records) for totals in handed] == [(3, 6)]


async def test_what_a_worker_left_in_the_spool_is_removed_at_a_reset_and_what_it_handed_over_is_kept(
    desk: Desk, locked: sqlite3.Connection
) -> None:
    spool = desk.options.spool
    spool.mkdir(parents=True)
    (spool / "handed-over").write_text("kept")
    (spool / "half").write_text("a part")
    (spool / "half-folder").mkdir()
    (spool / "half-folder" / "file").write_text("a part")
    desk.reporter.start()

    desk.observe(*TRAINING, ArtifactLogged("/model/a.txt", None, str(spool / "handed-over")), InstanceReset())
    (spool / "of-the-next-worker").write_text("new")
    locked.rollback()
    desk.observe(*TRAINING, ActivityEnded("train", "completed", 1.0))
    await desk.recorded()

    assert [path.name for path in spool.iterdir()] == ["of-the-next-worker"]
    (first,) = [run for run in desk.runs if run.info.status.name == "KILLED"]
    assert list((desk.folder / "artifacts").rglob(f"{first.info.run_id}/artifacts/a.txt"))


@pytest.mark.parametrize(
    "error", [ImportError("No module named 'alembic'"), PermissionError(13, "Permission denied", "/x")]
)
async def test_whatever_keeps_the_store_from_being_opened_it_is_tried_again(desk: Desk, error: Exception) -> None:
    desk.refusals = [error, error]
    desk.observe(*TRAINING)

    desk.reporter.start()

    await desk.until(lambda: type(error).__name__ in desk.shown.get("tracking", {}).get("error", ""))
    await desk.until(lambda: "error" not in desk.shown["tracking"])
    await desk.recorded("RUNNING")


async def test_no_report_waits_for_a_file_that_cannot_be_stored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(tmp_path, artifact_locations=("file:///sys",))
    experiment = desk.store.create_experiment("away", "file:///sys/nowhere")
    (tmp_path / "a.txt").write_text("a")
    began = ActivityBegan("initialize", ([], {"mlflow.experimentId": experiment}, {}))
    desk.observe(began, ActivityEnded("initialize", "completed", 0.1), ActivityBegan("train"))
    desk.observe(ArtifactLogged(str(tmp_path / "a.txt"), None, None), points(0, 50))
    desk.observe(ActivityEnded("train", "completed", 1.0))

    desk.reporter.start()

    await desk.until(lambda: "cannot" in desk.shown.get("tracking", {}).get("artifactError", ""))
    await desk.until(lambda: (desk.shown.get("run") or {}).get("experimentId") == experiment)
    await asyncio.to_thread(wait_until, lambda: desk.reporter.waiting == 1)  # the file
    assert desk.shown["run"]["status"] == "FINISHED"
    assert desk.steps() == list(range(50))
    await desk.close()
    await desk.until(lambda: any("a.txt was not kept" in note for note in desk.shown["tracking"].get("notes", [])))
    assert not desk.options.locks.exists() or not list(desk.options.locks.iterdir())
    desk.store.close()


async def test_a_location_that_is_not_allowed_is_neither_written_nor_called(desk: Desk) -> None:
    experiment = desk.store.create_experiment("theirs", (desk.folder / "theirs").as_uri())
    (desk.folder / "a.txt").write_text("a")
    began = ActivityBegan("initialize", ([], {"mlflow.experimentId": experiment}, {}))
    desk.observe(began, ActivityEnded("initialize", "completed", 0.1), ActivityBegan("train"))
    desk.observe(ArtifactLogged(str(desk.folder / "a.txt"), None, None))

    desk.reporter.start()

    await desk.until(lambda: any("none is allowed" in note for note in desk.shown.get("tracking", {}).get("notes", [])))
    assert not (desk.folder / "theirs").exists()


async def test_where_nothing_is_to_be_tracked_the_end_waits_for_no_store(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.refusals = [StoreUnavailable("The folder cannot be written.")] * 10_000
    desk.reporter.start()
    desk.observe(WorkerStarted(0, 1), InstanceReset(), WorkerStarted(1, 2))
    await desk.until(lambda: "error" in desk.shown.get("tracking", {}))

    await desk.close(3600.0)

    assert desk.refusals
    assert "before everything is tracked" not in caplog.text


async def test_the_spool_of_a_container_that_never_had_a_store_is_removed_by_the_next(desk: Desk) -> None:
    desk.refusals = [StoreUnavailable("The database is away.")] * 100
    left = desk.options.spool
    left.mkdir(parents=True)
    desk.reporter.start()
    await desk.until(lambda: "error" in desk.shown.get("tracking", {}))
    await desk.close(0.0)
    await desk.ended()  # until then the lock says that this container lives
    assert left.exists()

    desk.refusals = []
    desk.options = replace(desk.options, container_id="the next")
    desk.reporter = Reporter(desk, desk.options, show=desk._show, hold=desk._hold)
    desk.reporter.start()
    desk.observe(*TRAINING)
    await desk.recorded("RUNNING")

    assert not left.exists()


async def test_a_mistake_of_ours_costs_what_it_concerns(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("a mistake")

    monkeypatch.setattr("mistk_service.recording.uploads.Uploads.upload", broken)
    desk.reporter.start()
    desk.observe(*TRAINING, ArtifactLogged("/x", None, None), points(0, 3))

    await desk.until(lambda: "a mistake" in str(desk.shown.get("tracking", {}).get("notes")))

    await desk.close()
    assert desk.steps() == [0, 1, 2]


async def test_a_reporter_that_was_never_started_ends_at_once(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.observe(WorkerStarted(0, 1))

    await desk.close()

    assert caplog.text == ""
