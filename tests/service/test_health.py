"""The responses to probes and scrapers in every state."""

from __future__ import annotations

import os
import platform
import socket
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from mistk_service import __version__
from mistk_service.kinds.model.states import State
from tests.service.conftest import Start
from tests.service.harness import API, OBEDIENT, Service, connect, read_answer, refused, run, turns
from tests.support.remotes import reserved_port

both_workers = pytest.mark.parametrize("worker", ["process", "thread"])


@both_workers
def test_a_probe_is_answered_truthfully_in_every_state_of_a_life(service: Service, tmp_path: Path) -> None:
    assert_health(service, "started", ready=False)
    initialize = {"hyperparameters": {"train": "steps_for_ever", "predict": "steps_for_ever", "generate": "raise"}}
    assert service.do("initialize", initialize)["state"] == "initialized"
    assert_health(service, "initialized", ready=False)
    service.do("buildModel")
    assert_health(service, "ready", ready=True)
    for operation, running in (("train", "training"), ("predict", "predicting")):
        service.post(operation)
        assert_health(service, running, ready=False)
        service.do("pause")
        assert_health(service, "paused", ready=False)
        service.do("saveModel", modelPath=str(tmp_path))
        assert_health(service, "paused", ready=False)
        service.wait_for_state("started", service.post("reset"))
        assert_health(service, "started", ready=False)
        service.do("initialize", initialize)
        service.do("buildModel")
    service.do("generate")
    assert_health(service, "failed", ready=False)
    service.do("reset")
    assert_health(service, "started", ready=False)


def test_a_probe_is_answered_while_the_model_initializes_ends_and_is_killed(start: Start) -> None:
    service = start("--grace", "1000")
    service.post("initialize", {"hyperparameters": {"initialize": "ignore_everything"}})
    assert_health(service, "initializing", ready=False)
    resetting = service.post("reset")
    assert_health(service, "resetting", ready=False)
    service.worker().kill()
    service.wait_for_state("started", resetting)
    service.post("initialize", {"hyperparameters": {"initialize": "ignore_everything"}})
    service.post("shutdown")
    assert_health(service, "terminating", ready=False)
    service.worker().kill()
    assert service.wait_exit() == 0


def test_a_service_has_started_when_its_model_is_loaded_and_a_reset_does_not_change_that(service: Service) -> None:
    def probe(path: str) -> tuple[int, Any]:
        answer = service.api.get(service.url + path)
        return answer.status_code, answer.json()

    assert probe("/startupz") == (200, {"started": True})
    service.do("initialize", {"hyperparameters": {"terminate": "raise"}})
    service.do("reset")
    assert probe("/startupz") == (200, {"started": True})
    assert probe("/livez") == probe("/healthz") == (200, {"status": "alive"})


def test_a_service_has_not_started_while_it_loads_the_model(start: Start, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    (tmp_path / "slow.py").write_text(SLOW)
    service = start(model="slow.py:Slow", begun="Listening at ")
    answer = service.api.get(f"{service.url}/startupz")
    assert (answer.status_code, answer.json()) == (503, {"started": False})
    (tmp_path / "gate").write_text("go")
    service.wait_for_line("Serving ")
    assert service.api.get(f"{service.url}/startupz").json() == {"started": True}


#: A model that is loaded when somebody writes to the named pipe ``gate``.
SLOW = """
from pathlib import Path
from mistk_service import AbstractModel

class Slow(AbstractModel):
    Path("gate").read_text()
"""


def test_stream_predictions_in_flight_leave_the_service_ready(service: Service) -> None:
    service.make_ready()
    worker = service.worker()
    worker.suspend()
    try:
        with connect(service.port) as sock:
            head = f"POST {API}/streamPredict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            sock.sendall(head.encode() + b'Content-Length: 13\r\n\r\n{"a": "YQ=="}')
            service.wait_for_metric("mistk_stream_queue", 1)
            assert_health(service, "predicting", ready=True)
            worker.resume()
            assert read_answer(sock)[0] == 200
        assert_health(service, "ready", ready=True)
    finally:
        worker.resume()


def test_health_is_json_and_for_reading_only(service: Service) -> None:
    for path in ("/healthz", "/livez", "/readyz", "/startupz", "/metrics"):
        refused(service.api.post(service.url + path), 405)
        assert service.api.head(service.url + path).content == b""


# --- the command that probes run ----------------------------------------------------------------------------------------


def test_the_health_command_says_whether_a_service_is_alive_and_whether_it_can_accept_work(
    service: Service, tmp_path: Path
) -> None:
    port = {"MISTK_PORT": str(service.port), "MISTK_HOST": "0.0.0.0"}
    assert run("health", cwd=tmp_path, env=port) == (0, '{"status":"alive"}\n', "")
    code, out, err = run("health", "--ready", cwd=tmp_path, env=port)
    assert (code, out) == (1, "")
    assert err == (
        f"Error: http://127.0.0.1:{service.port}/readyz answered 503: The instance has not been initialized.\n"
    )
    service.make_ready()
    assert run("health", "--ready", cwd=tmp_path, env=port)[0] == 0


def test_the_health_command_fails_with_the_reason_where_nothing_answers(tmp_path: Path) -> None:
    with reserved_port() as reserved:
        port = reserved.getsockname()[1]
        code, out, err = run("health", "--port", str(port), cwd=tmp_path)
    assert (code, out) == (1, "")
    assert err.startswith(f"Error: http://127.0.0.1:{port}/healthz does not answer: ")
    assert len(err.splitlines()) == 1


def test_the_health_command_does_not_wait_for_ever_and_needs_a_port(tmp_path: Path) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as silent:
        port = silent.getsockname()[1]
        code, _, err = run("health", "--host", "::", "--port", str(port), "--timeout", "0.05", cwd=tmp_path)
    assert code == 1
    assert err == f"Error: http://[::1]:{port}/healthz does not answer: timed out.\n"
    code, _, err = run("health", "--port", "0", cwd=tmp_path)
    assert code == 1
    assert err.startswith("Error: --port: 0 cannot be probed")


def test_the_health_command_is_not_misled_by_what_does_not_speak_http(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_greet, args=(server,))
        thread.start()
        code, _, err = run("health", "--port", str(server.getsockname()[1]), cwd=tmp_path)
        thread.join()
    assert code == 1
    assert "did not answer in HTTP" in err


def _greet(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(1024)
        connection.sendall(b"220 mail.example.org\r\n")


# --- figures ----------------------------------------------------------------------------------------------------------


def test_the_figures_are_in_prometheus_own_format(service: Service) -> None:
    response = service.api.get(f"{service.url}/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    for family in figures(service):
        assert family.documentation, f"{family.name} has no help text"
        assert family.type in ("counter", "gauge", "histogram")


def test_requests_are_counted_by_operation_and_status(service: Service) -> None:
    count = "mistk_requests_total"
    before = {
        "ok": service.metric(count, operation="initialize", status="200"),
        "refused": service.metric(count, operation="initialize", status="400"),
        "missing": service.metric(count, operation="other", status="404"),
        "status": service.metric("mistk_request_seconds_count", operation="status"),
    }
    service.do("initialize", {})
    refused(service.api.post("/initialize", json={}))
    refused(service.api.post("/initialize", content=b"{", headers={"content-type": "application/json"}))
    for name in ("nothing", "nothing2"):
        refused(service.api.get(f"/{name}"), 404)
    service.status()
    assert service.metric(count, operation="initialize", status="200") == before["ok"] + 1
    assert service.metric(count, operation="initialize", status="400") == before["refused"] + 2
    assert service.metric(count, operation="other", status="404") == before["missing"] + 2
    assert service.metric("mistk_request_seconds_count", operation="status") > before["status"]
    # Nobody fills the memory with paths that do not exist.
    labels = {s.labels.get("operation") for family in figures(service) for s in family.samples}
    assert not {"nothing", "nothing2"} & labels


def test_the_latency_of_every_operation_is_a_histogram(service: Service) -> None:
    service.make_ready()
    service.post("streamPredict", {"a": "YQ=="})
    before = histogram(service, "mistk_request_seconds", operation="streamPredict")
    for _ in range(5):
        service.post("streamPredict", {"a": "YQ=="})
    after = histogram(service, "mistk_request_seconds", operation="streamPredict")
    assert after["count"] == before["count"] + 5
    assert after["sum"] > before["sum"]
    counts = [after["buckets"][bound] for bound in sorted(after["buckets"])]
    assert counts == sorted(counts)
    assert counts[-1] == after["count"]
    assert max(after["buckets"]) == float("inf")


def test_an_operation_that_was_never_called_has_no_figures(start: Start) -> None:
    service = start()
    service.status()
    assert {s.labels["operation"] for s in samples(service, "mistk_request_seconds_count")} == {"status"}
    service.do("initialize", {})
    operations = {s.labels["operation"] for s in samples(service, "mistk_request_seconds_count")}
    assert {"initialize", "status"} <= operations
    assert "train" not in operations


@both_workers
def test_the_figures_name_the_build_and_measure_the_processes(service: Service, worker: str) -> None:
    (build,) = samples(service, "mistk_build_info")
    assert build.labels == {"version": __version__, "model": OBEDIENT}
    assert samples(service, "python_info")[0].labels["version"] == platform.python_version()
    assert service.metric("process_start_time_seconds") == pytest.approx(
        psutil.Process(service.process.pid).create_time(), abs=1
    )
    assert service.metric("process_resident_memory_bytes") > 1e6
    measured = service.worker() if worker == "process" else psutil.Process(service.process.pid)
    assert service.metric("mistk_worker_process_start_time_seconds") == pytest.approx(measured.create_time(), abs=1)
    assert service.metric("mistk_worker_process_open_fds") > 0


def test_a_worker_that_is_dead_has_no_figures(service: Service) -> None:
    service.make_ready()
    service.worker().kill()
    service.wait_for_state("failed", service.status())
    assert samples(service, "mistk_worker_process_resident_memory_bytes") == []
    assert service.metric("process_resident_memory_bytes") > 1e6


def test_the_progress_is_there_while_an_activity_reports_it(service: Service) -> None:
    service.make_ready(train="steps_for_ever")
    assert samples(service, "mistk_progress_done") == []
    service.wait(lambda s: turns(s) > 1, service.post("train"))
    (done,) = samples(service, "mistk_progress_done")
    assert done.labels["operation"] == "train"
    assert done.value > 1
    service.do("reset")
    assert samples(service, "mistk_progress_done") == []


def test_the_state_is_one_of_all_states(service: Service) -> None:
    for prepare, state in ((lambda: None, "started"), (service.make_ready, "ready")):
        prepare()
        values = {s.labels["state"]: s.value for s in samples(service, "mistk_state")}
        assert set(values) == set(State)
        assert [name for name, value in values.items() if value] == [state]


def test_activities_are_timed_by_operation_and_outcome(service: Service) -> None:
    name, labels = "mistk_activity_seconds_count", {"operation": "train"}
    before = {
        outcome: service.metric(name, outcome=outcome, **labels) for outcome in ("completed", "failed", "stopped")
    }
    service.make_ready()
    service.do("train")
    service.do("reset")
    service.make_ready(train="raise")
    service.do("train")
    service.do("reset")
    service.make_ready(train="steps_for_ever")
    service.wait(lambda s: turns(s) > 1, service.post("train"))
    service.do("reset")
    for outcome, count in before.items():
        assert service.metric(name, outcome=outcome, **labels) == count + 1


def test_records_the_queue_and_worker_restarts_are_counted(service: Service) -> None:
    before = service.metric("mistk_stream_records_total", outcome="completed")
    restarts = service.metric("mistk_worker_restarts_total")
    service.make_ready()
    service.post("streamPredict", {"a": "YQ==", "b": "YQ==", "c": "YQ=="})
    assert service.metric("mistk_stream_records_total", outcome="completed") == before + 3
    assert service.metric("mistk_stream_queue") == 0
    service.do("reset")
    assert service.metric("mistk_worker_restarts_total") == restarts + 1


def assert_health(service: Service, state: str, *, ready: bool) -> None:
    """All that tells of the health says the same."""
    assert service.api.get(f"{service.url}/healthz").json() == {"status": "alive"}
    response = service.api.get(f"{service.url}/readyz")
    body = response.json()
    assert (response.status_code, body["ready"], body["state"]) == (200 if ready else 503, ready, state)
    assert response.headers["content-type"] == "application/json"
    assert ready or len(body["reason"]) > 10
    assert service.metric("mistk_state", state=state) == 1


def figures(service: Service) -> list[Metric]:
    """The families of figures."""
    return list(text_string_to_metric_families(service.api.get(f"{service.url}/metrics").text))


def samples(service: Service, name: str) -> list[Any]:
    """The samples of that name."""
    return [sample for family in figures(service) for sample in family.samples if sample.name == name]


def histogram(service: Service, name: str, **labels: str) -> dict[str, Any]:
    """A histogram's count, sum and buckets by their bounds."""
    buckets = {
        float(s.labels["le"]): s.value for s in samples(service, f"{name}_bucket") if labels.items() <= s.labels.items()
    }
    return {
        "count": service.metric(f"{name}_count", **labels),
        "sum": service.metric(f"{name}_sum", **labels),
        "buckets": buckets,
    }
