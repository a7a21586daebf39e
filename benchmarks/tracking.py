"""Compares our tracking server with ``mlflow server --workers 1``, on the same machine; prints a table of ratios.

Both keep their runs in SQLite with the same settings and are filled with the same 10,000 runs before they start. Clients and
servers share the machine. Every scenario is measured on both, one after the other, in every round; a ratio is the median of
the ratios of the rounds. Needs the development environment: ``make bench-tracking``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sqlite3
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.servers import ours as container
from benchmarks.servers import running
from benchmarks.table import machine, markdown
from benchmarks.tracking_peers import Peer, mlflow, ours
from benchmarks.tracking_scenarios import SCENARIOS, Scenario, hammer, repeat

#: The note below the table.
NOTE = (
    "Both: SQLite with a write-ahead log and synchronous = NORMAL (a commit survives the end of the process), which MLflow's "
    "server is made to set in each of its connections. Times are those of the clients, from the first byte sent to the last "
    "received. Memory counts what processes share once. Both servers were at rest before anything was measured."
)

_MET = {True: "yes", False: "no", None: ""}

#: Milliseconds that the embedded tracking server may add to the start of a container.
_ADDED = 100


@dataclass(frozen=True)
class Figure:
    """One result, and whether a larger or a smaller value is better."""

    value: float
    text: str
    larger_is_better: bool


@dataclass(frozen=True)
class Row:
    """A line of the table: the figures of the round in the middle, the ratio of ours to MLflow's, and its target."""

    scenario: str
    ours: str
    theirs: str
    ratio: str
    wanted: str = ""
    met: bool | None = None


def measure(peer: Peer, scenario: Scenario, seconds: float) -> dict[str, Figure]:
    """Run a scenario on one server and return its figures by name."""
    if scenario.samples:
        took = statistics.median(repeat(peer, scenario))
        return {scenario.title: Figure(took, f"{took * 1000:,.1f} ms", larger_is_better=False)}
    times = sorted(hammer(peer, scenario, seconds))
    rate = scenario.clients * len(times) * scenario.weight / sum(times)
    p99 = times[int(len(times) * 0.99)]
    return {
        scenario.title: Figure(rate, f"{rate:,.0f}/s", larger_is_better=True),
        f"{scenario.title}, p99": Figure(p99, f"{p99 * 1000:,.2f} ms", larger_is_better=False),
    }


def compare(us: Peer, them: Peer, scenarios: Sequence[Scenario], rounds: int, seconds: float) -> Iterator[Row]:
    """Measure everything on both servers, round after round, and return a row for each figure."""
    measured: dict[str, list[tuple[Figure, Figure]]] = defaultdict(list)
    wanted: dict[str, float] = {}
    with Progress(transient=True) as progress:
        task = progress.add_task("Measuring", total=rounds * len(scenarios))
        for _ in range(rounds):
            for scenario in scenarios:
                mine, theirs = measure(us, scenario, seconds), measure(them, scenario, seconds)
                for name in mine:
                    measured[name].append((mine[name], theirs[name]))
                    wanted[name] = scenario.wanted if name == scenario.title else 10
                progress.advance(task)
    for name, pairs in measured.items():
        yield _row(name, pairs, wanted[name])
    yield _row("memory", [(_megabytes(us.memory()), _megabytes(them.memory()))], 10)
    yield _row("memory of the largest process alone", [(_megabytes(us.largest()), _megabytes(them.largest()))], None)


def compare_starts(folders: Sequence[Path], rounds: int) -> Row:
    """Start both servers once in every round, one after the other, and return the row for it."""
    pairs = []
    for _ in range(rounds):
        figures = []
        for peer, folder in zip((ours, mlflow), folders, strict=True):
            with peer(folder) as started:
                figures.append(_seconds(started.start))
        pairs.append((figures[0], figures[1]))
    return _row("start to the first answer", pairs, 10)


def added_to_a_start(rounds: int) -> Iterator[Row]:
    """Measure what the embedded server adds to the start of a container whose store does not exist yet."""
    begun: dict[str, list[tuple[float, float]]] = {"--no-tracking": [], "--tracking": []}
    for _ in range(rounds):
        for option, found in begun.items():
            with (
                tempfile.TemporaryDirectory() as folder,
                running(container("Logistic", option, "--state-dir", folder)) as server,
            ):
                found.append((server.started, server.ready))
    for place, what in enumerate(("/healthz", "initialized")):
        without, with_it = ([pair[place] for pair in begun[option]] for option in begun)
        added = statistics.median(b - a for a, b in zip(without, with_it, strict=True)) * 1000
        seconds = [f"{statistics.median(values):.3f} s" for values in (with_it, without)]
        name = f"start of a container to {what}, with and without"
        yield Row(name, *seconds, f"{added:+.0f} ms", f"< {_ADDED} ms", added < _ADDED)


def _megabytes(value: float) -> Figure:
    return Figure(value, f"{value:,.0f} MB", larger_is_better=False)


def _seconds(value: float) -> Figure:
    return Figure(value, f"{value:.2f} s", larger_is_better=False)


def _row(name: str, pairs: Sequence[tuple[Figure, Figure]], wanted: float | None) -> Row:
    ratios = [_ratio(mine, theirs) for mine, theirs in pairs]
    middle = sorted(range(len(ratios)), key=ratios.__getitem__)[len(ratios) // 2]
    mine, theirs = pairs[middle]
    ratio = statistics.median(ratios)
    if wanted is None:
        return Row(name, mine.text, theirs.text, f"{ratio:.1f}")
    return Row(name, mine.text, theirs.text, f"{ratio:.1f}", f"{wanted:g}", ratio >= wanted)


def _ratio(of_ours: Figure, of_mlflow: Figure) -> float:
    """Return the ratio of ours to MLflow's; above 1, ours is better."""
    better, worse = (of_ours, of_mlflow) if of_ours.larger_is_better else (of_mlflow, of_ours)
    return better.value / worse.value


def conditions() -> str:
    """Return a description of the machine, in a line."""
    load = ", ".join(f"{part:.1f}" for part in os.getloadavg())
    return f"{machine()}, SQLite {sqlite3.sqlite_version}, load at the end {load}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured")
    parser.add_argument("--seconds", type=float, default=2, help="how long each rate is measured")
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it works")
    parser.add_argument("--only", nargs="+", default=[], help="the scenarios whose titles contain one of these words")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    options = parser.parse_args()
    rounds, seconds = (1, 0.5) if options.quick else (options.rounds, options.seconds)
    scenarios = [s for s in SCENARIOS if not options.only or any(word in s.title for word in options.only)]
    rows = [] if options.only else list(added_to_a_start(rounds))
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folders = [Path(name) / peer for peer in ("ours", "mlflow")]
        for folder in folders:
            folder.mkdir()
        if not options.only:
            rows.insert(0, compare_starts(folders, rounds))
        us, them = stack.enter_context(ours(folders[0])), stack.enter_context(mlflow(folders[1]))
        rows = [*compare(us, them, scenarios, rounds, seconds), *rows]
    _show(rows, as_markdown=options.markdown)
    if options.json:
        figures: dict[str, Any] = {"machine": conditions(), "rows": [vars(row) for row in rows]}
        options.json.write_text(json.dumps(figures, indent=2))


def _show(rows: Sequence[Row], *, as_markdown: bool) -> None:
    heads = ("Scenario", "Ours", "MLflow, 1 worker", "Times as good", "Wanted", "Met")
    cells = [(r.scenario, r.ours, r.theirs, r.ratio, r.wanted, _MET[r.met]) for r in rows]
    if as_markdown:
        sys.stdout.write(f"{markdown(heads, cells)}\n\n{conditions()}\n\n{NOTE}\n")
        return
    table = Table(*heads, title=conditions(), caption=NOTE, caption_justify="left")
    for line in cells:
        table.add_row(*line)
    Console().print(table)


if __name__ == "__main__":
    main()
