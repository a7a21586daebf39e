"""Every error of every path is a ServiceError in JSON."""

from __future__ import annotations

import base64

import pytest

from tests.service.harness import API, Service, raw, refused, service_error

OPERATIONS = ["initialize", "train", "streamPredict", "pause", "shutdown", "reset", "status", "apiVersion"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/nothing/below",
        "/v1",
        "/v1/mistk2",
        "/v1/mistk/",
        "/v1/mistk/nothing",
        "/v1/mistk/train/now",
        "/v1/mistk/Train",
        "/v1/mistk/streamPredict/%00",
        "/v1/mistk/%F0%9F%98%80",
        "/v1/mistk/../nothing",
        "/v3/mistk/status",
        "/static/nothing.js",
        "/static/../app.py",
        "/healthz/",
        "/metrics/x",
        "/favicon.ico",
        "/%00",
        f"/{'x' * 5000}",
    ],
    ids=lambda path: path[:40],
)
def test_a_path_that_does_not_exist_is_answered_with_404(service: Service, method: str, path: str) -> None:
    # Over a bare connection, since a client library would tidy the path up.
    request = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode()
    status, headers, body = raw(service.port, request)
    error = service_error(body, status, headers["content-type"])
    # The files of the page are only read, whether or not there is one of that name.
    is_read_only = path.startswith("/static/") and method != "GET"
    assert status == (405 if is_read_only else 404)
    assert ("takes GET only" if is_read_only else "/v1/mistk") in error["message"]


def wrong_methods() -> list[tuple[str, str]]:
    """Each operation with each method that is not its own; HEAD goes where GET goes."""
    methods = {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD"}
    own = {name: {"GET", "HEAD"} if name in ("status", "apiVersion") else {"POST"} for name in OPERATIONS}
    return [(method, name) for name in OPERATIONS for method in sorted(methods - own[name])]


@pytest.mark.parametrize(("method", "operation"), wrong_methods())
def test_a_method_that_a_path_does_not_take_is_answered_with_405(service: Service, method: str, operation: str) -> None:
    before = service.settled()
    response = service.api.request(method, f"/{operation}")
    if method == "HEAD":
        assert (response.status_code, response.content) == (405, b"")
    else:
        refused(response, 405)
    assert method not in response.headers["allow"].split(", ")
    assert service.status() == before


def test_a_slash_too_many_leads_to_the_right_path(service: Service) -> None:
    response = service.api.get("/apiVersion/", follow_redirects=True)
    assert (response.status_code, response.url.path) == (200, f"{API}/apiVersion")


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics", f"{API}/swagger.json"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_pages_and_figures_are_only_read(service: Service, path: str, method: str) -> None:
    response = service.api.request(method, service.url + path)
    refused(response, 405)
    assert "GET" in response.headers["allow"]


def test_an_operation_before_its_time_is_answered_with_what_is_possible(service: Service) -> None:
    before = service.settled()
    for operation in ("train", "predict", "generate", "pause", "resumeTraining", "resumePredict", "buildModel"):
        error = refused(service.api.post(f"/{operation}"))
        assert (error["operation"], error["state"]) == (operation, "started")
        assert set(error["possible"]) == {"initialize", "reset", "shutdown"}
        assert "initialize" in error["message"]
    assert service.status() == before


@pytest.mark.parametrize("worker", ["process", "thread"])
def test_what_a_model_raises_over_a_record_is_answered_with_500_and_the_model_stays_ready(service: Service) -> None:
    service.make_ready()
    before = service.settled()
    error = refused(service.api.post("/streamPredict", json={"a": encoded("raise")}), 500)
    assert "ValueError: a record told the model to raise" in error["message"]
    assert service.post("streamPredict", {"a": encoded("b")})["a"]["echo"] == "b"
    status = service.status()
    assert (status["state"], status["payload"]) == ("ready", before["payload"])


def test_a_worker_that_dies_over_a_record_is_answered_with_500(service: Service) -> None:
    service.make_ready()
    error = refused(service.api.post("/streamPredict", json={"a": encoded("die")}), 500)
    assert "exit code 7" in error["message"]
    status = service.wait_for_state("failed", service.status())
    assert status["payload"]["error"]["type"] == "WorkerDied"
    refused(service.api.post("/streamPredict", json={"a": encoded("b")}))


def encoded(text: str) -> str:
    """The record with this text."""
    return base64.b64encode(text.encode()).decode()
