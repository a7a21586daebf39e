"""Our tracking server beside ``mlflow server --workers 1``, in the same run on the same machine; prints a table of ratios.

Both keep their runs in SQLite with a write-ahead log and are filled with the same 10,000 runs before they start. Clients and
servers share the machine. Every scenario is measured on both, one after the other, several times over; a ratio is the median
of the ratios of the rounds. Needs the development environment: ``make bench-tracking``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.tracking_peers import LONG_RUN, POINTS, RUNS, Client, Peer, mlflow, ours

# --- what is measured -------------------------------------------------------------------------------------------------


def log_metric(peer: Peer, client: Client) -> None:
    """Log one point."""
    step = next(peer.counter)
    client.post("/runs/log-metric", {"run_id": peer.target, "key": "m", "value": 0.5, "timestamp": step, "step": step})


def create_run(peer: Peer, client: Client) -> None:  # noqa: ARG001 - all calls have the peer
    """Create a run."""
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
