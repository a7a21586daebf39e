"""The two servers of the tracking benchmark: ours and MLflow's, filled with the same runs."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import re
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import psutil
from rich.progress import track

from benchmarks.servers import free_port

__all__ = ["LONG_RUN", "POINTS", "RUNS", "Client", "Peer", "mlflow", "ours", "request"]

#: The contents of the stores.
RUNS = 10_000
POINTS = 100_000

#: The run whose history has ``POINTS`` points.
LONG_RUN = "f" * 32

BASE = "/api/2.0/mlflow"

#: Maximum seconds for a server to come to rest, and to end.
_TIMEOUT = 120.0

#: Seconds of processor time in a second that count as rest.
_REST = 0.03

#: Python runs it in every process of MLflow's server, which has no option for this setting.
_SAME_SETTINGS = """
import sqlite3

_connect = sqlite3.connect


def connect(*args, **options):
    connection = _connect(*args, **options)
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


sqlite3.connect = sqlite3.dbapi2.connect = connect
"""


@dataclass
class Peer:
    """A server under measurement.

    Attributes:
        name: for the table.
        process: the server's process.
        address: host and port.
        start: seconds from the start of the process to the first answer.
        target: the run that is logged to.
        warm: the scenarios that have run once.
    """

    name: str
    process: psutil.Process
    address: tuple[str, int]
    start: float
    target: str = ""
    warm: set[str] = field(default_factory=set)
    counter: Iterator[int] = field(default_factory=lambda: iter(range(10**12)))

    def memory(self) -> float:
        """Return the memory of the server and its children in MB; what they share counts once."""
        return sum(process.memory_full_info().pss for process in self._family()) / 1e6

    def largest(self) -> float:
        """Return the memory of the process that has most of it, in MB."""
        return max(process.memory_full_info().pss for process in self._family()) / 1e6

    def cpu(self) -> float:
        """Return the processor time that the server and its children have taken, in seconds."""
        times = [process.cpu_times() for process in self._family()]
        return sum(time.user + time.system for time in times)

    def _family(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


class Client:
    """One keep-alive connection on a plain socket. Its own work counts as the server's time."""

    def __init__(self, peer: Peer) -> None:
        self._socket = socket.create_connection(peer.address, timeout=300)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, path: str, body: Any) -> Any:
        """Send a request and return the JSON of the answer."""
        return msgspec.json.decode(self.exchange(request("POST", path, body)))

    def get(self, path: str) -> Any:
        """Send a request and return the JSON of the answer."""
        return msgspec.json.decode(self.exchange(request("GET", path)))

    def exchange(self, message: bytes) -> bytearray:
        """Send a request and return the body of the response.

        Raises:
            RuntimeError: the status is not 200.
        """
        self._socket.sendall(message)
        received = bytearray()
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._more()
        head = bytes(received[:end]).lower()
        length = re.search(rb"content-length: *(\d+)", head)
        del received[: end + 4]
        if length is None:
            received = self._chunks(received)
        while length is not None and len(received) < int(length[1]):
            received += self._more()
        if b" 200 " not in head[:16]:
            raise RuntimeError(f"{message[:200]!r}: {head[:16]!r} {received[:300]!r}")
        return received

    def _chunks(self, received: bytearray) -> bytearray:
        """Return the body of an answer in chunks (RFC 9112, 7.1), of which the beginning has been received."""
        body = bytearray()
        while True:
            while (end := received.find(b"\r\n")) < 0:
                received += self._more()
            size = int(received[:end], 16)
            while len(received) < end + 2 + size + 2:
                received += self._more()
            body += received[end + 2 : end + 2 + size]
            del received[: end + 2 + size + 2]
            if size == 0:
                return body

    def _more(self) -> bytes:
        data = self._socket.recv(1 << 20)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data


def request(method: str, path: str, body: Any = None) -> bytes:
    """Return the bytes of a request."""
    head = f"{method} {BASE}{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
    if body is None:
        return f"{head}\r\n".encode()
    content = msgspec.json.encode(body)
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


@contextlib.contextmanager
def serving(
    name: str, command: list[str], port: int, folder: Path, more_environment: dict[str, str] | None = None
) -> Iterator[Peer]:
    """Start a server, wait for its first answer, and then until it and its children have come to rest."""
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", **(more_environment or {})}
    with (folder / "log").open("w") as log:
        begun = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        while not _is_serving(port):
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with {process.returncode}:\n{(folder / 'log').read_text()}")
            time.sleep(0.005)
        peer = Peer(name, psutil.Process(process.pid), ("127.0.0.1", port), time.perf_counter() - begun)
        peer.target = Client(peer).post("/runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]
        _await_rest(peer)
        yield peer
    finally:
        _end(process)


def _await_rest(peer: Peer) -> None:
    """Wait until the server is idle: MLflow's continues to start processes after its first response."""
    deadline = time.monotonic() + _TIMEOUT
    quiet, before = 0, peer.cpu()
    while quiet < 3:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{peer.name} still takes processor time {_TIMEOUT:g} s after its first answer.")
        time.sleep(1)
        now = peer.cpu()
        quiet = quiet + 1 if now - before <= _REST else 0
        before = now


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children; it may have ended by itself."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    process.terminate()
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.terminate()
    try:
        process.wait(_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _is_serving(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().read() == b"OK"
    except OSError:
        return False
    finally:
        connection.close()


def ours(folder: Path) -> contextlib.AbstractContextManager[Peer]:
    """Serve our store in a folder, which is filled if it does not exist."""
    if not (folder / "ours.db").exists():
        _fill_ours(folder / "ours.db")
    port = free_port()
    options = ["--store", f"sqlite:///{folder}/ours.db", "--artifacts", str(folder / "artifacts"), "--port", str(port)]
    return serving("ours", [sys.executable, "-m", "mistk_service", "tracking", "serve", *options], port, folder)


def mlflow(folder: Path) -> contextlib.AbstractContextManager[Peer]:
    """Serve MLflow's store in a folder, which is filled if it does not exist."""
    uri = f"sqlite:///{folder}/mlflow.db"
    if not (folder / "mlflow.db").exists():
        subprocess.run([sys.executable, "-m", "mlflow", "db", "upgrade", uri], check=True, capture_output=True)
        _fill_mlflow(folder / "mlflow.db")
    port = free_port()
    options = ["--workers", "1", "--port", str(port), "--backend-store-uri", uri]
    artifacts = ["--artifacts-destination", str(folder / "artifacts")]
    settings = folder / "settings"
    settings.mkdir(exist_ok=True)
    (settings / "sitecustomize.py").write_text(_SAME_SETTINGS)
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, (str(settings), os.environ.get("PYTHONPATH"))))}
    command = [sys.executable, "-m", "mlflow", "server", *options, *artifacts]
    return serving("MLflow", command, port, folder, environment)


def _content() -> Iterator[tuple[str, int, dict[str, float], dict[str, str]]]:
    """Yield the runs that both are filled with: id, start time, metrics, params."""
    source = random.Random(0)  # noqa: S311 - it is no secret
    for n in range(RUNS):
        run_id = uuid.UUID(int=source.getrandbits(128)).hex
        metrics = {key: source.random() for key in ("loss", "accuracy", "f1")}
        yield (
            run_id,
            1_700_000_000_000 + n,
            metrics,
            {"depth": str(source.randrange(10)), "rate": "0.1", "kind": "tree"},
        )


def _fill_ours(file: Path) -> None:
    from mistk_service.tracking import open_store
    from mistk_service.tracking.values import Metric, Param

    with open_store(f"sqlite:///{file}") as store:
        experiment_id = store.create_experiment("filled")
        assert experiment_id == "1"
        waiting = []
        for n, (_, start, metrics, params) in enumerate(track(_content(), "Filling ours", RUNS, transient=True)):
            run_id = store.create_run(experiment_id, start_time=start, run_name=f"run {n}").info.run_id
            points = [Metric(key, value, start) for key, value in metrics.items()]
            waiting.append(store.submit_batch(run_id, points, [Param(key, value) for key, value in params.items()]))
        for batch in waiting:
            batch.result()
        long_run = store.create_run("0", run_name="long").info.run_id
        for first in range(0, POINTS, 1000):
            store.log_batch(long_run, [Metric("long", n / POINTS, n, n) for n in range(first, first + 1000)])
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        _rename_run(connection, long_run)


def _rename_run(connection: sqlite3.Connection, run_id: str) -> None:
    """Rename the run to the id of the benchmark, in all our tables."""
    connection.execute("PRAGMA foreign_keys = OFF")
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        if "run_id" in columns:
            connection.execute(f"UPDATE {table} SET run_id = ? WHERE run_id = ?", (LONG_RUN, run_id))  # noqa: S608


def _fill_mlflow(file: Path) -> None:
    """Write MLflow's tables directly: its API would take a quarter of an hour."""
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for experiment_id, name in [(0, "Default"), (1, "filled")]:
            _insert(
                connection, "experiments", experiment_id=experiment_id, name=name, lifecycle_stage="active",
                artifact_location=f"mlflow-artifacts:/{experiment_id}", creation_time=1, last_update_time=1,
                workspace="default",
            )  # fmt: skip
        for n, (run_id, start, metrics, params) in enumerate(_content()):
            _insert_run(connection, run_id, "1", start, f"run {n}")
            for key, value in metrics.items():
                point: dict[str, Any] = {
                    "key": key,
                    "value": value,
                    "timestamp": start,
                    "run_uuid": run_id,
                    "step": 0,
                    "is_nan": 0,
                }
                _insert(connection, "metrics", **point)
                _insert(connection, "latest_metrics", **point)
            for key, value in params.items():
                _insert(connection, "params", key=key, value=value, run_uuid=run_id)
        _insert_run(connection, LONG_RUN, "0", 1, "long")
        for n in range(POINTS):
            point = {"key": "long", "value": n / POINTS, "timestamp": n, "run_uuid": LONG_RUN, "step": n, "is_nan": 0}
            _insert(connection, "metrics", **point)
        _insert(connection, "latest_metrics", **point)


def _insert_run(connection: sqlite3.Connection, run_id: str, experiment_id: str, start: int, name: str) -> None:
    _insert(
        connection, "runs", run_uuid=run_id, experiment_id=experiment_id, start_time=start, name=name, user_id="",
        status="RUNNING", lifecycle_stage="active", source_type="UNKNOWN", source_name="", entry_point_name="",
        source_version="", artifact_uri=f"mlflow-artifacts:/{experiment_id}/{run_id}/artifacts",
    )  # fmt: skip
    _insert(connection, "tags", key="mlflow.runName", value=name, run_uuid=run_id)


def _insert(connection: sqlite3.Connection, table: str, **values: Any) -> None:
    columns, marks = ", ".join(values), ", ".join("?" * len(values))
    connection.execute(f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks})", list(values.values()))  # noqa: S608
