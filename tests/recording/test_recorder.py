"""The recorder's thread delays nothing, writes everything, and stops in order."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from mistk_service.core.events import (
    ActivityEnded,
    ArtifactLogged,
    InstanceReset,
    PredictionAnswered,
    PredictionBegan,
    PredictionWithdrawn,
    WorkerStarted,
)
from mistk_service.recording.liveness import ContainerLock
from mistk_service.tracking.values import Tag
from tests.recording.conftest import tags_of
from tests.recording.harness import CONTAINER, TRAINING, RecorderHarness, points

pytestmark = pytest.mark.anyio


async def test_what_was_observed_before_the_start_is_written_after_it(harness: RecorderHarness) -> None:
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
        "link": f"/#/runs/{run.info.run_id}",
    }
    assert harness.shown["tracking"] == {"store": harness.store.uri}
    assert harness.steps() == [0, 1, 2]


async def test_the_end_writes_everything_first_and_kills_what_runs(harness: RecorderHarness) -> None:
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


async def test_runs_of_the_dead_are_ended_and_what_they_left_is_removed(harness: RecorderHarness) -> None:
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


async def test_stream_predictions_are_totalled_and_written_at_the_end(harness: RecorderHarness) -> None:
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
    harness: RecorderHarness,
) -> None:
    now = 1000.0
    harness.record(clock=lambda: now)
    answered = PredictionAnswered(2, 0.5, True)
    harness.observe(*TRAINING)
    waiting = harness.recorder.waiting

    harness.observe(PredictionBegan(), answered, PredictionBegan(), answered, PredictionBegan(), PredictionWithdrawn())
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
    harness: RecorderHarness, locked: sqlite3.Connection
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


async def test_a_mistake_of_ours_costs_what_it_concerns(harness: RecorderHarness) -> None:
    forgotten: Any = None
    harness.recorder.start()
    harness.observe(*TRAINING, ArtifactLogged(forgotten, None, None), points(0, 3))

    await harness.until(lambda: "Something could not be tracked" in str(harness.shown.get("tracking", {}).get("notes")))

    await harness.close()
    assert harness.steps() == [0, 1, 2]


async def test_a_reporter_that_was_never_started_ends_at_once(
    harness: RecorderHarness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.observe(WorkerStarted(0, 1))

    await harness.close()

    assert caplog.text == ""
