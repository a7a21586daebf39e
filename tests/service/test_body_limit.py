"""Bodies up to the limit are accepted, whole or in chunks; larger ones are refused before they are read."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.service.conftest import MAX_BODY
from tests.service.harness import (
    API,
    JSON,
    RECORD,
    REQUEST_TIMEOUT,
    Service,
    accepted,
    connect,
    raw,
    read_answer,
    refused,
    service_error,
)


def head(operation: str, *headers: str) -> bytes:
    """The head of a POST of JSON."""
    lines = [f"POST {API}/{operation} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers, "", ""]
    return "\r\n".join(lines).encode()


def chunk(data: bytes) -> bytes:
    """A chunk of a body in chunks."""
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.mark.parametrize("operation", ["streamPredict", "initialize", "train", "nothing", "status"])
@pytest.mark.parametrize("length", [MAX_BODY + 1, 10**12, 10**18])
def test_a_body_announced_over_the_limit_is_refused_before_it_is_sent(
    unchanged: Service, operation: str, length: int
) -> None:
    request = head(operation, f"Content-Length: {length}", "Expect: 100-continue")
    status, headers, body = raw(unchanged.port, request)
    error = service_error(body, 413, headers["content-type"])
    assert (status, headers["connection"]) == (413, "close")
    assert str(MAX_BODY) in error["message"]
    assert "--max-body" in error["message"]


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/nothing", f"{API}/ui/", f"{API}/swagger.json"])
def test_the_limit_holds_on_every_path(unchanged: Service, path: str) -> None:
    request = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {MAX_BODY + 1}\r\n\r\n".encode()
    status, headers, body = raw(unchanged.port, request)
    assert status == 413
    service_error(body, 413, headers["content-type"])


def test_a_client_that_sends_everything_before_it_reads_still_gets_its_413(unchanged: Service) -> None:
    with httpx.Client(base_url=unchanged.api.base_url, timeout=REQUEST_TIMEOUT) as client:
        response = client.post("/streamPredict", content=b"x" * 20_000_000, headers=JSON)
        refused(response, 413)


def test_a_body_in_chunks_is_refused_as_soon_as_it_is_over_the_limit(unchanged: Service) -> None:
    with connect(unchanged.port) as sock:
        sock.sendall(head("streamPredict", "Transfer-Encoding: chunked"))
        sock.sendall(chunk(b"x" * (MAX_BODY // 2)) * 3)  # and no end
        status, headers, body = read_answer(sock)
    assert status == 413
    service_error(body, 413, headers["content-type"])


def test_a_body_in_chunks_within_the_limit_is_taken(ready: Service) -> None:
    body = json.dumps({"a": RECORD}).encode()
    chunks = b"".join(chunk(body[at : at + 1]) for at in range(len(body)))
    with connect(ready.port) as sock:
        sock.sendall(head("streamPredict", "Transfer-Encoding: chunked"))
        sock.sendall(chunks + chunk(b""))
        status, _, answer = read_answer(sock)
    assert (status, json.loads(answer)) == (200, {"a": {"echo": "record", "details": False}})


def test_a_client_that_waits_for_leave_to_send_its_body_gets_it(ready: Service) -> None:
    body = json.dumps({"a": RECORD}).encode()
    with connect(ready.port) as sock:
        sock.sendall(head("streamPredict", f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert read_answer(sock)[0] == 100
        sock.sendall(body)
        assert read_answer(sock)[0] == 200


def padded(size: int, chunked: bool) -> Any:
    """A request for a prediction of this size, in two chunks or whole."""
    body = json.dumps({"a": RECORD}).encode().ljust(size)
    return iter([body[:1000], body[1000:]]) if chunked else body


@pytest.mark.parametrize("size", [MAX_BODY - 1, MAX_BODY])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_up_to_the_limit_is_taken(ready: Service, size: int, chunked: bool) -> None:
    accepted(ready.api.post("/streamPredict", content=padded(size, chunked), headers=JSON))


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_one_byte_more_than_the_limit_is_refused(unchanged: Service, chunked: bool) -> None:
    refused(unchanged.api.post("/streamPredict", content=padded(MAX_BODY + 1, chunked), headers=JSON), 413)


@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
def test_a_body_that_breaks_off_changes_nothing(unchanged: Service, framing: str) -> None:
    with connect(unchanged.port) as sock:
        sock.sendall(head("initialize", framing))
        sock.sendall(b'5\r\n{"hyp')
