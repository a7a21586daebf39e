"""Our tracking server beside ``mlflow server --workers 1``, in the same run on the same machine; prints a table of ratios.

Both keep their runs in SQLite with a write-ahead log and are filled with the same 10,000 runs before they start. Clients and
servers share the machine. Every scenario is measured on both, one after the other, several times over; a ratio is the median
of the ratios of the rounds. Needs the development environment: ``make bench-tracking``.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import re
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

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


# --- what is measured -------------------------------------------------------------------------------------------------


def log_metric(peer: Peer, client: Client) -> None:
    """Log one point."""
    step = next(peer.counter)
    client.post("/runs/log-metric", {"run_id": peer.target, "key": "m", "value": 0.5, "timestamp": step, "step": step})


def create_run(peer: Peer, client: Client) -> None:  # noqa: ARG001 - all calls have the peer
    """Create a run in an experiment of its own."""
    client.post("/runs/create", {"experiment_id": "0", "start_time": 1})


def get_run(peer: Peer, client: Client) -> None:
    """Get a run."""
    client.get(f"/runs/get?run_id={peer.target}")


def log_batch(peer: Peer, client: Client) -> None:
    """Log a thousand points."""
    first = next(peer.counter) * 1000
    points = [{"key": "b", "value": 0.5, "timestamp": first + n, "step": first + n} for n in range(1000)]
    client.post("/runs/log-batch", {"run_id": peer.target, "metrics": points})


def search_few(peer: Peer, client: Client) -> None:  # noqa: ARG001
    """Find some tens of runs by a metric and a param, ordered."""
    query = {"filter": "metrics.loss < 0.04 AND params.depth = '3'", "order_by": ["metrics.accuracy DESC"]}
    client.post("/runs/search", {"experiment_ids": ["1"], **query})


def search_many(peer: Peer, client: Client) -> None:  # noqa: ARG001
    """Get a thousand runs, ordered by a metric."""
    found = client.post(
        "/runs/search", {"experiment_ids": ["1"], "order_by": ["metrics.loss ASC"], "max_results": 1000}
    )
    assert len(found["runs"]) == 1000


def search_all(peer: Peer, client: Client) -> None:  # noqa: ARG001
    """Get all runs, a thousand at a time."""
    token, seen = None, 0
    while token is not None or not seen:
        page = client.post("/runs/search", {"experiment_ids": ["1"], "max_results": 1000, "page_token": token})
        seen += len(page["runs"])
        token = page.get("next_page_token")
    assert seen == RUNS


def get_history(peer: Peer, client: Client) -> None:  # noqa: ARG001
    """Get a long history, in the pages that MLflow's client asks for."""
    token, seen = "", 0
    while token or not seen:
        page = client.get(
            f"/metrics/get-history?run_id={LONG_RUN}&metric_key=long&max_results=25000&page_token={token}"
        )
        seen += len(page["metrics"])
        token = page.get("next_page_token", "")
    assert seen == POINTS


@dataclass(frozen=True)
class Figure:
    """One result: what is better the larger it is, or the smaller."""

    value: float
    text: str
    larger_is_better: bool


@dataclass(frozen=True)
class Scenario:
    """What is measured, with how many clients, and what is asked of the ratio."""

    title: str
    call: Callable[[Peer, Client], None]
    clients: int
    wanted: float
    once: bool = False
    weight: int = 1


SCENARIOS = [
    Scenario("log-metric, 1 client", log_metric, 1, 10),
    Scenario("log-metric, 16 clients", log_metric, 16, 10),
    Scenario("runs/create, 1 client", create_run, 1, 10),
    Scenario("runs/create, 16 clients", create_run, 16, 10),
    Scenario("runs/get, 1 client", get_run, 1, 10),
    Scenario("runs/get, 16 clients", get_run, 16, 10),
    Scenario("log-batch of 1,000, metrics", log_batch, 1, 20, weight=1000),
    Scenario("search: filter and order, some tens of hits", search_few, 1, 10, once=True),
    Scenario("search: 1,000 hits by a metric", search_many, 1, 10, once=True),
    Scenario("search: all 10,000 in pages", search_all, 1, 10, once=True),
    Scenario("get-history of 100,000 points", get_history, 1, 10, once=True),
]


def measure(peer: Peer, scenario: Scenario, seconds: float) -> dict[str, Figure]:
    """Run a scenario on one server and return its figures by name."""
    if scenario.once:
        client = Client(peer)
        begun = time.perf_counter()
        scenario.call(peer, client)
        took = time.perf_counter() - begun
        return {scenario.title: Figure(took, f"{took * 1000:,.0f} ms", larger_is_better=False)}
    times = _hammer(peer, scenario, seconds)
    rate = len(times) * scenario.weight / seconds
    p99 = sorted(times)[int(len(times) * 0.99)]
    return {
        scenario.title: Figure(rate, f"{rate:,.0f}/s", larger_is_better=True),
        f"{scenario.title}, p99": Figure(p99, f"{p99 * 1000:,.1f} ms", larger_is_better=False),
    }


def _hammer(peer: Peer, scenario: Scenario, seconds: float) -> list[float]:
    """Return how long each call took, over all clients."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    def work() -> None:
        client = Client(peer)
        while (begun := time.perf_counter()) < end:
            scenario.call(peer, client)
            times.append(time.perf_counter() - begun)

    threads = [threading.Thread(target=work) for _ in range(scenario.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


# --- the servers ------------------------------------------------------------------------------------------------------


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
                point = {"key": key, "value": value, "timestamp": start, "run_uuid": run_id, "step": 0, "is_nan": 0}
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


# --- the table --------------------------------------------------------------------------------------------------------


def ratio(of_ours: Figure, of_mlflow: Figure) -> float:
    """Return how many times as good ours is."""
    better, worse = (of_ours, of_mlflow) if of_ours.larger_is_better else (of_mlflow, of_ours)
    return better.value / worse.value


def compare(us: Peer, them: Peer, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Measure everything on both servers and return a row for each figure."""
    rows = []
    for scenario in track(SCENARIOS, "Measuring", transient=True):
        measured = [
            (measure(us, scenario, seconds), measure(them, scenario, seconds))
            for _ in range(1 if scenario.call is search_all else rounds)
        ]
        for name in measured[0][0]:
            ratios = [ratio(mine[name], theirs[name]) for mine, theirs in measured]
            middle = sorted(range(len(ratios)), key=ratios.__getitem__)[len(ratios) // 2]
            mine, theirs = measured[middle][0][name].text, measured[middle][1][name].text
            wanted = 10 if name.endswith("p99") else scenario.wanted
            rows.append(_row(name, mine, theirs, statistics.median(ratios), wanted))
    rows.append(_row("memory", f"{us.memory():,.0f} MB", f"{them.memory():,.0f} MB", them.memory() / us.memory(), 10))
    rows.append(
        _row("start to the first answer", f"{us.start:.2f} s", f"{them.start:.2f} s", them.start / us.start, 10)
    )
    return rows


def _row(name: str, mine: str, theirs: str, times: float, wanted: float) -> dict[str, Any]:
    return {"scenario": name, "ours": mine, "MLflow": theirs, "ratio": round(times, 1), "wanted": wanted}


def machine() -> str:
    """Return what the figures come from, in a line."""
    model = (
        re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()) if Path("/proc/cpuinfo").exists() else None
    )
    name = model[1] if model else "unknown processor"
    return f"{os.cpu_count()} cores ({name}), Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured")
    parser.add_argument("--seconds", type=float, default=3, help="how long each rate is measured")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folders = [Path(name) / peer for peer in ("ours", "mlflow")]
        for folder in folders:
            folder.mkdir()
        us, them = stack.enter_context(ours(folders[0])), stack.enter_context(mlflow(folders[1]))
        rows = compare(us, them, options.rounds, options.seconds)
    table = Table("Scenario", "Ours", "MLflow, 1 worker", "Times as good", "Wanted", title=machine())
    for row in rows:
        table.add_row(row["scenario"], row["ours"], row["MLflow"], f"{row['ratio']:g}", f"{row['wanted']:g}")
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
