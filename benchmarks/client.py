"""The load: keep-alive connections over plain sockets, in a separate process, with little work for each answer.

``python -m benchmarks.client`` takes a :class:`Load` as JSON on its input, puts it on the server and prints a :class:`Result`
as JSON. Every answer must be a 200 with the length that it announces; anything else counts as an error.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import ceil
from pathlib import Path

__all__ = ["Load", "Result", "http_request", "percentile", "put"]

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Load:
    """The load.

    Attributes:
        port: of the server, on the loopback interface.
        path: the requested path.
        body: of a POST; None for a GET.
        file: a file with the body, in place of ``body``.
        headers: further headers.
        connections: the number of connections, each with one request at a time.
        seconds: how long.
        rate: requests a second over all connections; None for as many as there can be. Latencies then count from the moment
            that a request was due, which avoids coordinated omission.
        limit: answers after which to stop, whatever the time.
        expected: a part that every answer has to contain; others count as errors.
    """

    port: int
    path: str
    body: str | None = None
    connections: int = 1
    seconds: float = 1.0
    rate: float | None = None
    limit: int | None = None
    file: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    expected: str = ""

    @property
    def request(self) -> bytes:
        """The bytes of the request."""
        if self.file is None:
            return http_request(self.path, self.body, self.headers)
        body = Path(self.file).read_bytes()
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\n{_lines(self.headers)}Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass(frozen=True)
class Result:
    """The result of a load; latencies in milliseconds."""

    answers: int
    errors: int
    seconds: float
    p50: float
    p99: float
    problems: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds


def http_request(path: str, body: str | None, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of a request."""
    more = f"Host: localhost\r\n{_lines(headers or {})}"
    if body is None:
        return f"GET {path} HTTP/1.1\r\n{more}Accept: application/json\r\n\r\n".encode()
    head = f"POST {path} HTTP/1.1\r\n{more}Content-Type: application/json\r\nAccept: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def _lines(headers: Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def percentile(values: list[float], share: float) -> float:
    """Return the value that ``share`` of the sorted values do not exceed; NaN if there are none."""
    return values[max(0, ceil(len(values) * share) - 1)] if values else float("nan")


class _Connection:
    """One connection with at most one request at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self._end: int | None = None
        self.began = 0.0

    def ask(self, request: bytes, began: float) -> None:
        self.began = began
        self._buffer, self._end = b"", None
        self.socket.sendall(request)

    def read(self) -> bytes | None:
        """Read the available data; return the head of the response once it is complete."""
        data = self.socket.recv(_CHUNK)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._buffer += data
        if self._end is None:
            head, separator, _ = self._buffer.partition(b"\r\n\r\n")
            if not separator:
                return None
            self._end = len(head) + 4 + _content_length(head)
        return self._buffer if len(self._buffer) >= self._end else None


def _content_length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"content-length:")
    if not found:
        raise ConnectionError(f"an answer without a length: {head[:200]!r}")
    return int(rest.partition(b"\r\n")[0])


class _Run:
    """A running load."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._request = load.request
        self._expected = load.expected.encode()
        self._selector = selectors.DefaultSelector()
        self._idle: list[_Connection] = []
        self.latencies: list[float] = []
        self.problems: list[str] = []
        for _ in range(load.connections):
            connection = _Connection(load.port)
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)
            self._idle.append(connection)

    def run(self) -> Result:
        """Put the load on and return its result."""
        began = time.perf_counter()
        end = began + self._load.seconds
        sent = 0
        while (now := time.perf_counter()) < end and self._wanted():
            sent += self._send_due(began, now, sent)
            wait = min(end, self._due(began, sent)) - now if self._idle else end - now
            for key, _ in self._selector.select(max(0.0, wait)):
                self._take(key.data)
        return self._result(time.perf_counter() - began)

    def _wanted(self) -> bool:
        return len(self.problems) < 100 and (self._load.limit is None or len(self.latencies) < self._load.limit)

    def _due(self, began: float, sent: int) -> float:
        return began if self._load.rate is None else began + sent / self._load.rate

    def _send_due(self, began: float, now: float, sent: int) -> int:
        count = 0
        while self._idle and self._due(began, sent + count) <= now:
            due = now if self._load.rate is None else self._due(began, sent + count)
            self._idle.pop().ask(self._request, due)
            count += 1
        return count

    def _take(self, connection: _Connection) -> None:
        try:
            answer = connection.read()
        except OSError as error:
            self.problems.append(str(error))
            self._selector.unregister(connection.socket)
            return
        if answer is None:
            return
        if answer.startswith(b"HTTP/1.1 200") and self._expected in answer:
            self.latencies.append((time.perf_counter() - connection.began) * 1000)
        else:
            self.problems.append(answer[:300].decode("latin-1"))
        self._idle.append(connection)

    def _result(self, seconds: float) -> Result:
        values = sorted(self.latencies)
        p50, p99 = percentile(values, 0.5), percentile(values, 0.99)
        return Result(len(values), len(self.problems), seconds, p50, p99, self.problems[:3])


def put(load: Load) -> Result:
    """Put a load on a server from this process."""
    return _Run(load).run()


if __name__ == "__main__":
    print(json.dumps(asdict(put(Load(**json.loads(sys.stdin.read()))))))
