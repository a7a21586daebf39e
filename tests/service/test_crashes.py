"""A worker that dies does not affect the service: the status shows the reason, and a reset recovers."""

from __future__ import annotations

import signal

import pytest

from tests.service.conftest import Start
from tests.service.harness import Service, all_gone, refused, turns


def test_a_worker_killed_in_training_is_reported_as_a_failure_and_a_reset_mends_it(service: Service) -> None:
    service.make_ready(train="steps_for_ever")
    status = service.post("train")
    service.wait(lambda s: turns(s) > 2, status)
    worker = service.worker()
    worker.kill()
    failed = service.wait_for_state("failed", status)
    error = failed["payload"]["error"]
    assert failed["payload"]["operation"] == "train"
    assert error["type"] == "WorkerDied"
    assert "SIGKILL" in error["message"]
    assert failed["payload"]["lastActivity"]["outcome"] == "failed"
    assert failed["payload"]["possible"] == ["reset", "shutdown"]
    refused(service.api.post("/train"))
    before = service.metric("mistk_worker_restarts_total")
    assert service.do("reset")["state"] == "started"
    assert service.metric("mistk_worker_restarts_total") == before + 1
    assert service.worker().pid != worker.pid
    service.make_ready()
    for operation in ("train", "predict", "generate"):
        assert service.do(operation)["payload"]["lastActivity"]["outcome"] == "completed"
    assert service.post("streamPredict", {"a": "YQ=="})["a"]["echo"] == "a"


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGTERM, signal.SIGABRT], ids=lambda number: number.name)
def test_the_signal_that_ended_the_worker_is_named(service: Service, number: signal.Signals) -> None:
    service.make_ready(train="steps_for_ever")
    status = service.post("train")
    service.wait(lambda s: turns(s) > 2, status)
    service.worker().send_signal(number)
    error = service.wait_for_state("failed", status)["payload"]["error"]
    assert number.name in error["message"]


@pytest.mark.parametrize("when", ["started", "ready", "paused"])
def test_a_worker_that_dies_while_nothing_runs_is_noticed_too(service: Service, when: str) -> None:
    status = service.status()
    if when != "started":
        status = service.make_ready(train="steps_for_ever")
    if when == "paused":
        service.post("train")
        status = service.do("pause")
        assert status["state"] == "paused"
    service.worker().kill()
    failed = service.wait_for_state("failed", status)
    assert failed["payload"]["error"]["type"] == "WorkerDied"
    assert service.do("reset")["state"] == "started"


def test_what_the_worker_printed_last_is_in_the_failure(service: Service) -> None:
    service.make_ready(train="print_and_exit")
    failed = service.do("train")
    error = failed["payload"]["error"]
    assert "exit code 3" in error["message"]
    assert error["output"][-2:] == ["said on the output", "said on the error output"]


def test_what_a_dead_worker_had_started_ends_too(service: Service) -> None:
    service.make_ready(train="fork_and_stay")
    status = service.post("train")
    service.wait(lambda s: turns(s) > 2, status)
    worker = service.worker()
    children = worker.children(recursive=True)
    assert len(children) >= 3
    worker.kill()
    service.wait_for_state("failed", status)
    assert all_gone(children)


def test_a_worker_that_dies_while_it_ends_is_not_a_failure(start: Start) -> None:
    service = start()
    service.make_ready(train="ignore_everything")
    service.post("train")
    worker = service.worker()
    resetting = service.wait_for_state("resetting", service.post("reset"))
    worker.kill()
    states: list[str] = []
    service.wait(lambda s: states.append(s["state"]) or s["state"] == "started", resetting)
    assert "failed" not in states


def test_crash_after_crash_is_survived(service: Service) -> None:
    for _ in range(5):
        status = service.make_ready(train="steps_for_ever")
        service.worker().kill()
        service.wait_for_state("failed", status)
        assert service.do("reset")["state"] == "started"
    service.make_ready()
    assert service.do("train")["state"] == "ready"
