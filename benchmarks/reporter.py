"""The cost of reporting for a training, with remotes that respond, are slow, hang or are gone.

The training runs in containers as ``mistk-service serve`` starts them; the remote is MLflow's own server with one worker. In
every round each container makes a short training right before or after one in the container without tracking, and a ratio is
the median of the ratios of the rounds. Before the next training begins, its database shows that all reports have arrived.
Needs the development environment: ``make bench-reporter``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.reporter_containers import LATENCY, OFF, SLOW, UP, Container, Took, containers
from benchmarks.table import machine, markdown

#: Steps of a training in a round, and metrics that each reports.
STEPS, METRICS = 200, 2

#: The number of measurements of the cost of a metric.
REPEATS = 5

#: The number of metrics of which the delivery is measured.
FLOOD = 40_000


def costs(started: dict[str, Container], client: dict[str, dict[str, float]], calls: int) -> Iterator[tuple[str, ...]]:
    """Yield the time of a metric for the caller, and its processor time, in trainings that do nothing else."""
    yield "cost of a metric for the caller", "1 a call", "10 a call", "CPU, 1 a call", "CPU, 10 a call"
    for title in (OFF, UP):
        found = [_cost(started[title], calls // metrics, metrics) for metrics in (1, 10)]
        yield f"`report_metrics`, {title}", *_microseconds(*zip(*found, strict=True))
    for mode in ("", ", async"):
        pair = [client[f"{call}{mode}"] for call in ("log_metric", "log_batch of 10")]
        times = [tuple(figures[name] for figures in pair) for name in ("microseconds", "cpu")]
        yield f"`MlflowClient.log_metric`, `log_batch`{mode}", *_microseconds(*times)


def _cost(container: Container, steps: int, metrics: int) -> tuple[float, float]:
    """Return the microseconds of a metric for its caller, and those of the worker's processor time."""
    found = []
    for _ in range(REPEATS):
        found.append(container.train(steps, metrics, computes=False))
        container.settle()
    metric = steps * metrics * 1e-6
    return statistics.median(t.seconds for t in found) / metric, statistics.median(t.cpu for t in found) / metric


def slowdowns(started: Sequence[Container], rounds: int) -> Iterator[tuple[str, ...]]:
    """Yield the duration of a step in each container, and in the first one, without tracking, at the same time."""
    off, *others = started
    for container in started:
        _train(container)
    pairs: dict[str, list[tuple[Took, Took]]] = defaultdict(list)
    for number in range(rounds):
        for container in others:
            # Each is compared with one right before or after it, since the load of the machine changes within seconds.
            first, second = (off, container) if number % 2 else (container, off)
            found = {first.title: _train(first), second.title: _train(second)}
            pairs[container.title].append((found[container.title], found[off.title]))
    yield (
        f"a step that reports {METRICS} metrics",
        "median",
        "off",
        "ratio",
        "middle half",
        "ratio of CPU",
        "middle half",
    )
    for title, took in pairs.items():
        medians = [statistics.median(one.seconds for one in side) / STEPS * 1000 for side in zip(*took, strict=True)]
        ratios = _quartiles([mine.seconds / without.seconds for mine, without in took])
        yield title, *(f"{median:.2f} ms" for median in medians), *ratios, *_quartiles([a.cpu / b.cpu for a, b in took])


def _train(container: Container) -> Took:
    """Return the time of a training, once all its reports have arrived."""
    took = container.train(STEPS, METRICS, computes=True)
    container.settle()
    return took


def _quartiles(values: Sequence[float]) -> tuple[str, str]:
    """Return the median, and the quartiles around it."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.3f}", f"{low:.3f} to {high:.3f}"


def deliveries(
    started: dict[str, Container], client: dict[str, dict[str, float]], metrics: int
) -> Iterator[tuple[str, ...]]:
    """Yield the rate of metrics per second that reach the remote, from the first report until the last has arrived."""
    yield "metrics, 10 a call", "arrive in a second", "note"
    for title in (UP, SLOW):
        began = time.perf_counter()
        started[title].train(metrics // 10, 10, computes=False)
        reported = time.perf_counter() - began
        started[title].settle()
        rate = metrics / (time.perf_counter() - began)
        note = f"{metrics:,} metrics; the training had ended after {reported:.1f} s"
        yield f"`report_metrics`, {title}", f"{rate:,.0f}", note
    for call in ("log_batch of 10", "log_batch of 10, async", "log_batch of 1,000"):
        yield f"`MlflowClient`, {call}", f"{client[call]['rate']:,.0f}", ""


def mlflow_client(uri: str) -> dict[str, dict[str, float]]:
    """Measure MLflow's client, in a separate process."""
    command = [sys.executable, "-m", "benchmarks.reporter_mlflow", uri]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300)
    figures: dict[str, dict[str, float]] = json.loads(done.stdout)
    return figures


def _microseconds(*groups: Sequence[float]) -> list[str]:
    values = [value for group in groups for value in group]
    return [f"{value:,.1f} µs" if value < 100 else f"{value:,.0f} µs" for value in values]


def _show(table: Iterator[tuple[str, ...]]) -> None:
    head, *lines = table
    print(f"{markdown(head, lines)}\n", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=10, help="the number of rounds for each container")
    parser.add_argument("--quick", action="store_true", help="two rounds, to see that it works")
    options = parser.parse_args()
    rounds, calls, flood = (2, 1000, 5000) if options.quick else (options.rounds, 10_000, FLOOD)
    with tempfile.TemporaryDirectory() as folder, containers(Path(folder)) as (remote, started):
        by_title = {container.title: container for container in started}
        _show(slowdowns(started, rounds))
        client = mlflow_client(remote.server.url)
        _show(costs(by_title, client, calls))
        _show(deliveries(by_title, client, flood))
    load = ", ".join(f"{part:.1f}" for part in os.getloadavg())
    print(
        f"{machine()}, load at the end {load}. {rounds} rounds of {STEPS} steps; the slow remote delays each piece of a "
        f"response by {LATENCY:g} s."
    )


if __name__ == "__main__":
    main()
