"""A run of a killed container ends at the time of its last known data."""

from __future__ import annotations

import pytest

from mistk_service.recording.orphaned_runs import CONTAINER_TAG, end_runs_of
from mistk_service.recording.retry import StoreRetry
from mistk_service.tracking.embedded.local_tracking import OpenedTracking
from mistk_service.tracking.values import Metric, RunStatus, Tag

START, NOW = 10_000, 90_000


@pytest.mark.parametrize(
    ("timestamps", "last_seen", "end"),
    [
        ([20_000, 40_000, 30_000], 9_000, 40_000),
        ([], 9_000, START),
        ([], 12_000, 12_000),
        ([5], 9_000, START),
        ([20_000], 50_000, 50_000),
        # A clock that is ahead, of the model or of the machine, says nothing.
        ([20_000, NOW + 1], NOW + 5, 20_000),
        ([NOW + 1], NOW + 5, START),
    ],
)
def test_the_end_is_the_last_thing_that_is_known(
    opened: OpenedTracking, timestamps: list[int], last_seen: int, end: int
) -> None:
    store = opened.store
    tags = [Tag(CONTAINER_TAG, "killed")]
    run_id = store.create_run(store.create_experiment("mine"), start_time=START, tags=tags).info.run_id
    for number, timestamp in enumerate(timestamps):
        store.log_metric(run_id, Metric(f"m{number}", 1.0, timestamp, 0))

    end_runs_of("killed", store, StoreRetry(lambda _: False, lambda _: None), last_seen, NOW)

    info = store.get_run(run_id).info
    assert (info.status, info.end_time) == (RunStatus.FAILED, end)


def test_a_run_that_started_in_the_future_ends_when_it_started(opened: OpenedTracking) -> None:
    store = opened.store
    tags = [Tag(CONTAINER_TAG, "killed")]
    run_id = store.create_run(store.create_experiment("mine"), start_time=NOW + 1, tags=tags).info.run_id

    end_runs_of("killed", store, StoreRetry(lambda _: False, lambda _: None), NOW + 2, NOW)

    assert store.get_run(run_id).info.end_time == NOW + 1
