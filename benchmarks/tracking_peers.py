"""The two servers of the tracking benchmark: ours and MLflow's, filled with the same runs."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
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

import psutil
from rich.progress import track

__all__ = ["LONG_RUN", "POINTS", "RUNS", "Client", "Peer", "mlflow", "ours"]

#: What the stores are filled with.
RUNS = 10_000
POINTS = 100_000

#: The run whose history has ``POINTS`` points.
LONG_RUN = "f" * 32

BASE = "/api/2.0/mlflow"


@dataclass
class Peer:
    """A server under measurement.

    Attributes:
        name: for the table.
        process: the server's process.
        address: host and port.
        start: seconds from the start of the process to the first answer.
        target: the run that is logged to.
    """

    name: str
    process: psutil.Process
    address: tuple[str, int]
    start: float
    target: str = ""
    counter: Iterator[int] = field(default_factory=lambda: iter(range(10**12)))

    def memory(self) -> float:
        """Return the resident memory of the server and its children in MB."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(process.memory_info().rss for process in family) / 1e6


class Client:
    """One connection that is kept open."""

    def __init__(self, peer: Peer) -> None:
        self._connection = http.client.HTTPConnection(*peer.address, timeout=300)
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, path: str, body: Any) -> Any:
        """Send a request and return the JSON of the answer."""
        return self._call("POST", path, json.dumps(body))

    def get(self, path: str) -> Any:
        """Send a request and return the JSON of the answer."""
        return self._call("GET", path, None)

    def _call(self, method: str, path: str, body: str | None) -> Any:
        self._connection.request(method, BASE + path, body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        data = response.read()
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status} {data[:300]!r}")
        return json.loads(data)


@contextlib.contextmanager
def serving(name: str, command: list[str], port: int, folder: Path) -> Iterator[Peer]:
    """Start a server and wait for its first answer."""
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("w") as log:
        begun = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        while not _answers(port):
            if process.poll() is not None:
                raise RuntimeError((folder / "log").read_text())
            time.sleep(0.005)
        peer = Peer(name, psutil.Process(process.pid), ("127.0.0.1", port), time.perf_counter() - begun)
        peer.target = Client(peer).post("/runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]
        yield peer
    finally:
        for member in [*psutil.Process(process.pid).children(recursive=True), process]:
            member.terminate()
        process.wait()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().read() == b"OK"
    except OSError:
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ours(folder: Path) -> contextlib.AbstractContextManager[Peer]:
    """Fill our store and serve it."""
    _fill_ours(folder / "ours.db")
    port = _free_port()
    options = ["--store", f"sqlite:///{folder}/ours.db", "--artifacts", str(folder / "artifacts"), "--port", str(port)]
    return serving("ours", [sys.executable, "-m", "mistk_service", "tracking", "serve", *options], port, folder)


def mlflow(folder: Path) -> contextlib.AbstractContextManager[Peer]:
    """Fill MLflow's store and serve it."""
    uri = f"sqlite:///{folder}/mlflow.db"
    subprocess.run([sys.executable, "-m", "mlflow", "db", "upgrade", uri], check=True, capture_output=True)
    _fill_mlflow(folder / "mlflow.db")
    port = _free_port()
    options = ["--workers", "1", "--port", str(port), "--backend-store-uri", uri]
    artifacts = ["--artifacts-destination", str(folder / "artifacts")]
    return serving("MLflow", [sys.executable, "-m", "mlflow", "server", *options, *artifacts], port, folder)


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
    from mistk_service.tracking.entities import Metric, Param

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
    """Give the run the id that the benchmark asks for, in every table of ours that has it."""
    connection.execute("PRAGMA foreign_keys = OFF")
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        if "run_id" in columns:
            connection.execute(f"UPDATE {table} SET run_id = ? WHERE run_id = ?", (LONG_RUN, run_id))  # noqa: S608


def _fill_mlflow(file: Path) -> None:
    """Write MLflow's tables directly: by its API it would take a quarter of an hour."""
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
