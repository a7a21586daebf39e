"""Fixtures for the tests of the client: the JSON of a status, and a scripted service."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from mistk_service.client import ModelClient

CONTAINER = "5f1c63a0-8f7e-4f0e-9f39-0a8c5f0a7d11"


def status(state: str, version: int, *, container: str = CONTAINER, **payload: Any) -> dict[str, Any]:
    """A ModelInstanceStatus."""
    info = {"name": "Digits", "kind": "ModelInstanceStatus", "id": container, "resourceVersion": version}
    return {"objectInfo": info, "state": state, "payload": payload}


def line(state: str, version: int, *, missed: dict[str, int] | None = None, **more: Any) -> bytes:
    """A line of a watch."""
    event: dict[str, Any] = {"eventType": "modified", "payload": status(state, version, **more)}
    if missed:
        event |= {"missed": missed, "note": "Something is gone."}
    return json.dumps(event, ensure_ascii=False).encode() + b"\n"


@pytest.fixture(name="status")
def status_fixture() -> Callable[..., dict[str, Any]]:
    return status


@pytest.fixture(name="line")
def line_fixture() -> Callable[..., bytes]:
    return line


@dataclass
class Service:
    """A service that answers with what it was given, one answer after the other, and remembers the requests."""

    answers: list[httpx.Response | Exception] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)

    def will(self, *answers: httpx.Response | Exception) -> None:
        self.answers.extend(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def client(service: Service) -> Iterator[ModelClient]:
    with ModelClient("http://model.example:8080", transport=httpx.MockTransport(service)) as client:
        yield client


# --- a real server ------------------------------------------------------------------------------------------------


@dataclass
class Connection:
    """What a watch is sent over one connection, and what becomes of the connection then.

    Attributes:
        chunks: what is sent.
        then: ``end`` in good order, ``break``, ``hold`` open until the test is over, or wait until the client will ``leave``.
        code: the HTTP status.
    """

    chunks: tuple[bytes, ...] = ()
    then: str = "end"
    code: int = 200


class WatchServer(ThreadingHTTPServer):
    """A server on loopback whose every connection follows a script; each request's query is kept."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: list[Connection] = []
        self.queries: list[dict[str, list[str]]] = []
        self.headers: list[dict[str, str]] = []
        self.over = threading.Event()
        self.left = threading.Event()
        self.current: dict[str, Any] = status("started", 1)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WatchServer

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        self.server.queries.append(query)
        self.server.headers.append(dict(self.headers))
        if "watch" in query:
            self._watch(self.server.script.pop(0))
        else:
            body = json.dumps(self.server.current).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def _watch(self, connection: Connection) -> None:
        self.close_connection = True
        self.send_response(connection.code)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in connection.chunks:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.flush()
        if connection.then == "end":
            self.wfile.write(b"0\r\n\r\n")
        elif connection.then == "hold":
            self.server.over.wait()
        elif connection.then == "leave" and self.connection.recv(1) == b"":
            self.server.left.set()

    def log_message(self, *args: Any) -> None: ...


@pytest.fixture
def watch_server() -> Iterator[WatchServer]:
    server = WatchServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(name="connection")
def connection_fixture() -> type[Connection]:
    return Connection
