"""The ends of a service: by signal, by call, by force, and what is left of it."""

from __future__ import annotations

import signal
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.service.conftest import Start
from tests.service.harness import (
    API,
    REQUEST_TIMEOUT,
    Service,
    all_gone,
    connect,
    gone,
    read_answer,
    service_error,
    turns,
    version,
)
from tests.support.s3 import CREDENTIALS

both_workers = pytest.mark.parametrize("worker", ["process", "thread"])

SIGNALS = [signal.SIGTERM, signal.SIGINT]


@both_workers
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_ends_a_training_and_a_hundred_watches_in_good_order(
    start: Start, number: signal.Signals, worker: str
) -> None:
    service = start("--worker", worker, "--grace", "25")
    service.make_ready(train="steps_for_ever")
    status = service.post("train")
    service.wait(lambda s: turns(s) > 2, status)
    with ExitStack() as stack:
        watches = [open_watch(stack, service, status, sse=n % 2 == 1) for n in range(100)]
        service.wait_for_metric("mistk_watchers", 100)
        service.signal(number)
        # Each is read to its end; one that was cut off would raise.
        texts = ["".join(watch.iter_text()) for watch in watches]
    assert service.wait_exit() == 0
    for text in texts:
        states = [line.partition('"state":"')[2].partition('"')[0] for line in text.splitlines() if '"state":' in line]
        assert states[-2:] == ["terminating", "terminated"]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("when", ["started", "ready", "paused", "failed"])
def test_a_signal_ends_a_service_in_every_state(start: Start, number: signal.Signals, when: str) -> None:
    service = start()
    if when != "started":
        service.make_ready(train="raise" if when == "failed" else "steps_for_ever")
    if when == "failed":
        assert service.do("train")["state"] == "failed"
    elif when == "paused":
        service.post("train")
        assert service.do("pause")["state"] == "paused"
    worker = service.worker()
    service.signal(number)
    assert service.wait_exit() == 0
    assert gone(worker)
    assert "Traceback" not in service.output() or when == "failed"


def test_a_model_that_ignores_everything_is_killed_after_the_grace_period(start: Start) -> None:
    service = start("--grace", "4")  # of which the watch gets a tenth to be read to its end
    service.make_ready(train="ignore_everything")
    status = service.post("train")
    worker = service.worker()
    with service.watch(version(status)) as events:
        service.signal(signal.SIGTERM)
        last = list(events)[-1]["payload"]
    assert last["state"] == "terminated"
    assert "killed" in last["payload"]["notice"]
    assert last["payload"]["lastActivity"]["outcome"] == "stopped"
    assert service.wait_exit() == 0
    assert gone(worker)


def test_a_second_signal_ends_the_service_without_waiting(start: Start) -> None:
    service = start("--grace", "1000", measured=False)
    service.make_ready(train="ignore_everything")
    status = service.post("train")
    worker = service.worker()
    with service.watch(version(status)) as events:
        service.signal(signal.SIGINT)
        # A change of the training, its run for example, may come first.
        assert any(event["payload"]["state"] == "terminating" for event in events)
        service.signal(signal.SIGINT)
        assert service.wait_exit() == 0
    assert gone(worker)
    assert "SIGINT again" in service.output()
    assert "Traceback" not in service.output()


@pytest.mark.parametrize(("grace", "signals"), [("3", 1), ("1000", 2)])
def test_a_request_that_waits_for_a_locked_store_does_not_hold_the_end(
    start: Start, tmp_path: Path, grace: str, signals: int
) -> None:
    service = start("--grace", grace, measured=False)
    service.wait_for_metric("mistk_reporter_waiting", 0)
    body = b'{"name": "an experiment"}'
    head = (
        "POST /api/2.0/mlflow/experiments/create HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    database = tmp_path / "mistk-state" / "tracking.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as other, connect(service.port) as sock:
        other.execute("BEGIN IMMEDIATE")
        sock.sendall(head.encode())
        assert read_answer(sock)[0] == 100
        sock.sendall(body)
        service.metric("mistk_watchers")  # what came before is at the store now
        for _ in range(signals):
            service.signal(signal.SIGTERM)
            service.wait_for_line("SIGTERM: shutting down")
        assert service.wait_exit() == 0
    assert "The service ends although these threads are still running" in service.output()
    assert "Traceback" not in service.output()


def url_of(server: socket.socket) -> str:
    return f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def everything_hangs(start: Start, folder: Path, grace: str) -> Iterator[Service]:
    """A service whose database is locked, and whose artifact store, remote and model do not answer."""
    pytest.importorskip("s3fs")
    with ExitStack() as stack:
        # They take connections and never answer.
        remote, storage = (stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2))
        service = start(
            *("--grace", grace, "--tracking-uri", url_of(remote), "--artifact-location", "s3://bucket"),
            env={**CREDENTIALS, "AWS_ENDPOINT_URL": url_of(storage)},
            measured=False,
        )
        mlflow = f"{service.url}/api/2.0/mlflow"
        experiment = {"name": "Obedient", "artifact_location": "s3://bucket/runs"}
        assert service.api.post(f"{mlflow}/experiments/create", json=experiment).status_code == 200
        service.make_ready(train="ignore_everything")
        service.do("saveModel", modelPath=str(folder / "saved"))
        for server in (remote, storage):
            stack.enter_context(server.accept()[0])
        service.post("train")
        database = stack.enter_context(closing(sqlite3.connect(folder / "mistk-state" / "tracking.db")))
        database.execute("BEGIN IMMEDIATE")
        sock = stack.enter_context(connect(service.port))
        sock.sendall(
            b"POST /api/2.0/mlflow/experiments/create HTTP/1.1\r\nHost: localhost\r\n"
            b'Content-Type: application/json\r\nContent-Length: 15\r\n\r\n{"name": "new"}'
        )
        service.metric("mistk_watchers")  # the request before it has reached the store
        yield service


def test_the_grace_period_holds_though_database_artifact_store_remote_and_model_hang(
    start: Start, tmp_path: Path
) -> None:
    with everything_hangs(start, tmp_path, "2") as service:
        worker = service.worker()
        service.signal(signal.SIGTERM)
        assert service.process.wait(REQUEST_TIMEOUT) == 0
    service.wait_exit()
    assert gone(worker)
    assert "Traceback" not in service.output()


def test_a_second_signal_ends_a_long_grace_period_though_everything_hangs(start: Start, tmp_path: Path) -> None:
    with everything_hangs(start, tmp_path, "1000") as service:
        service.signal(signal.SIGTERM)
        service.wait_for_line("SIGTERM: shutting down")
        service.signal(signal.SIGTERM)
        assert service.process.wait(REQUEST_TIMEOUT) == 0
    service.wait_exit()
    assert "Traceback" not in service.output()


def test_a_reset_kills_what_does_not_end_and_says_so(start: Start) -> None:
    service = start("--grace", "1")
    service.make_ready(train="ignore_everything")
    service.post("train")
    worker = service.worker()
    status = service.do("reset")
    assert status["state"] == "started"
    assert "killed" in status["payload"]["notice"]
    assert gone(worker)
    service.make_ready()
    assert service.do("train")["payload"]["lastActivity"]["outcome"] == "completed"


@both_workers
@pytest.mark.parametrize("train", [None, "steps_for_ever"], ids=["started", "training"])
def test_the_operation_shutdown_ends_the_process_with_code_0(start: Start, worker: str, train: str | None) -> None:
    service = start("--worker", worker)
    if train:
        service.make_ready(train=train)
        service.post("train")
    status = service.post("shutdown")
    assert status["state"] == "terminating"
    # A second one is no error, as long as there is somebody to answer it.
    assert_shutting_down(service)
    assert service.wait_exit() == 0
    with pytest.raises(httpx.ConnectError):
        service.api.get("/status")


def test_a_shutdown_in_the_middle_of_a_reset_ends_the_service(start: Start) -> None:
    service = start("--grace", "5")
    service.make_ready(train="ignore_everything")
    service.post("train")
    worker = service.worker()
    assert service.post("reset")["state"] == "resetting"
    assert service.post("shutdown")["state"] == "terminating"
    assert service.wait_exit() == 0
    assert gone(worker)


def test_what_the_service_is_asked_while_it_shuts_down_is_refused_with_the_reason(start: Start) -> None:
    service = start("--grace", "1000")
    service.make_ready(train="ignore_everything")
    service.post("train")
    worker = service.worker()
    service.post("shutdown")
    response = service.api.post("/reset")
    assert response.status_code == 400
    assert response.json()["state"] == "terminating"
    assert service.api.get(f"{service.url}/readyz").json()["ready"] is False
    assert service.api.get(f"{service.url}/healthz").status_code == 200
    worker.kill()
    assert service.wait_exit() == 0


def test_stream_predictions_in_flight_are_answered_when_the_service_is_asked_to_exit(start: Start) -> None:
    service = start("--grace", "30")
    service.make_ready()
    worker = service.worker()
    worker.suspend()  # so that the answer never comes
    body = b'{"a": "YQ=="}'
    head = (
        f"POST {API}/streamPredict HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}"
    )
    with connect(service.port) as sock:
        sock.sendall(head.encode() + b"\r\n\r\n" + body)
        service.wait_for_metric("mistk_stream_queue", 1)
        service.signal(signal.SIGTERM)
        service.wait_for_metric("mistk_state", 1, state="terminating")
        worker.kill()
        code, headers, answer = read_answer(sock)
    assert code == 503
    service_error(answer, 503, headers["content-type"])
    assert service.wait_exit() == 0
    assert gone(worker)


def test_a_request_whose_body_never_ends_is_answered_when_the_service_ends(start: Start) -> None:
    service = start("--grace", "20")
    with connect(service.port) as sock:
        sock.sendall(
            f"POST {API}/initialize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            "Content-Length: 100\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        # The service asks for the body, so it has begun with the request.
        assert read_answer(sock)[0] == 100
        service.signal(signal.SIGTERM)
        code, headers, answer = read_answer(sock)
    assert code == 503
    assert "shutting down" in service_error(answer, 503, headers["content-type"])["message"]
    assert service.wait_exit() == 0
    assert "Traceback" not in service.output()


@pytest.mark.parametrize("operation", ["fork_and_stay", "steps_for_ever"])
def test_a_killed_service_leaves_no_process_behind(start: Start, operation: str) -> None:
    service = start()
    service.make_ready(train=operation)
    began = service.post("train")
    service.wait(lambda s: turns(s) > 2, began)
    processes = psutil.Process(service.process.pid).children(recursive=True)
    if operation == "fork_and_stay":
        assert len(processes) >= 4
    service.signal(signal.SIGKILL)
    service.wait_exit()
    assert all_gone(processes)


@pytest.mark.parametrize("end", ["reset", "shutdown"])
def test_what_the_model_started_ends_with_its_worker(start: Start, end: str) -> None:
    service = start()
    service.make_ready(train="fork_and_stay")
    began = service.post("train")
    service.wait(lambda s: turns(s) > 2, began)
    processes = service.worker().children(recursive=True)
    assert len(processes) >= 3
    service.post(end)
    assert all_gone(processes)


def open_watch(stack: ExitStack, service: Service, status: dict[str, Any], *, sse: bool) -> httpx.Response:
    """Open a watch, of either format, that is not read yet."""
    query: dict[str, str | int] = {"watch": "true", "resourceVersion": version(status)}
    headers = {"Accept": "text/event-stream"} if sse else {}
    return stack.enter_context(service.api.stream("GET", "/status", params=query, headers=headers))


def assert_shutting_down(service: Service) -> None:
    """A further shutdown is answered like the first one, or there is nobody left to answer."""
    try:
        response = service.api.post("/shutdown")
    except httpx.TransportError:
        return
    assert response.json()["state"] in ("terminating", "terminated")
