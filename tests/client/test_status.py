"""The status on the wire becomes typed values, also if parts of it are missing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from mistk_service.client import LastActivity, ModelStatus, Progress, WatchEvent
from mistk_service.errors import Failure
from mistk_service.kinds.model.states import State
from mistk_service.resources import load_contract


def test_the_example_of_the_contract_is_read_whole():
    definitions = load_contract()["definitions"]
    status = ModelStatus.from_wire(definitions["ModelInstanceStatus"]["example"])
    assert status.state is State.TRAINING
    assert status.resource_version == 12
    assert status.object_info.name == "Digits"
    assert status.activity == "train"
    assert status.progress == Progress(3, 20, "epochs", 1.5, 11.3)
    assert status.metrics == {"loss": 0.31}
    assert status.possible == ("pause", "reset", "shutdown")
    assert status.error is None
    assert str(status) == "training, 3 of 20 epochs"


def test_a_bare_status_has_nothing_to_tell(status: Callable[..., dict[str, Any]]):
    bare = ModelStatus.from_wire(status("started", 1) | {"payload": None})
    assert (bare.activity, bare.progress, bare.notice, bare.last_activity, bare.error) == (None,) * 5
    assert (bare.metrics, bare.possible, dict(bare.payload)) == ({}, (), {})
    assert str(bare) == "started"


def test_what_the_model_put_into_the_status_is_in_the_payload(status: Callable[..., dict[str, Any]]):
    assert ModelStatus.from_wire(status("ready", 1, anything=[1])).payload == {"anything": [1]}


def test_a_failure_carries_where_it_happened_and_what_was_printed(status: Callable[..., dict[str, Any]]):
    error = {"type": "WorkerDied", "message": "killed by SIGKILL", "traceback": None, "output": ["a", "b"]}
    failed = ModelStatus.from_wire(status("failed", 2, operation="train", error=error))
    assert failed.error == Failure("WorkerDied", "killed by SIGKILL", None, ("a", "b"))


def test_an_error_that_a_model_put_into_its_status_is_not_a_failure(status: Callable[..., dict[str, Any]]):
    assert ModelStatus.from_wire(status("training", 2, error={"mean": 0.1})).error is None


def test_metrics_that_are_not_finite_numbers_are_numbers(status: Callable[..., dict[str, Any]]):
    wire = {key: {"value": key} for key in ("NaN", "Infinity", "-Infinity")}
    metrics = ModelStatus.from_wire(status("training", 1, metrics=wire)).metrics
    assert math.isnan(metrics["NaN"])
    assert (metrics["Infinity"], metrics["-Infinity"]) == (math.inf, -math.inf)


def test_the_last_activity_tells_how_it_ended(status: Callable[..., dict[str, Any]]):
    wire = {"operation": "train", "outcome": "unsupported", "seconds": 0.5}
    last = ModelStatus.from_wire(status("ready", 1, lastActivity=wire)).last_activity
    assert last == LastActivity("train", "unsupported", 0.5)


@pytest.mark.parametrize(
    ("progress", "fraction", "text"),
    [
        (Progress(1, 4, "epochs"), 0.25, "1 of 4 epochs"),
        (Progress(5, 4, "epochs"), 1.0, "5 of 4 epochs"),
        (Progress(0, 0, "files"), 1.0, "0 of 0 files"),
        (Progress(7, None, "steps"), None, "7 steps"),
    ],
)
def test_progress_tells_how_much_is_done(progress: Progress, fraction: float | None, text: str):
    assert progress.fraction == fraction
    assert str(progress) == text


def test_an_event_tells_what_was_missed(status: Callable[..., dict[str, Any]]):
    wire = {"eventType": "added", "payload": status("ready", 9)}
    assert WatchEvent.from_wire(wire).missed is None
    lossy = WatchEvent.from_wire(wire | {"missed": {"from": 2, "to": 8}, "note": "gone"})
    assert (lossy.event_type, lossy.missed, lossy.note) == ("added", (2, 8), "gone")
    assert lossy.status.resource_version == 9
