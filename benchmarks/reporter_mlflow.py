"""Measures MLflow's own client: a separate program that prints its figures as JSON.

Its figures are microseconds for each metric, those that a caller waits and those of processor time that the program takes
meanwhile, and metrics a second from the first call until the server has answered for the last.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric


class _Run:
    """A run on the server."""

    def __init__(self, uri: str) -> None:
        self._client = MlflowClient(uri)
        self._id = self._client.create_run("0").info.run_id
        self._step = 0

    def log_metric(self, *, synchronous: bool) -> Any:
        """Log one metric at the next step."""
        self._step += 1
        return self._client.log_metric(self._id, "metric_0", 0.5, step=self._step, synchronous=synchronous)

    def log_batch(self, count: int, *, synchronous: bool) -> Any:
        """Log metrics at the next step, together."""
        self._step += 1
        now = int(time.time() * 1000)
        metrics = [Metric(f"metric_{number}", 0.5, now, self._step) for number in range(count)]
        return self._client.log_batch(self._id, metrics, synchronous=synchronous)


def _measure(calls: int, metrics: int, call: Callable[[], Any]) -> dict[str, float]:
    """Return microseconds of a metric for the caller, those of its processor time, and metrics a second that arrive."""
    if (first := call()) is not None:  # which connects, and starts threads
        first.wait()
    began, cpu = time.perf_counter(), time.process_time()
    operations = [call() for _ in range(calls)]
    called, cpu = time.perf_counter() - began, time.process_time() - cpu
    for operation in operations:
        if operation is not None:
            operation.wait()
    arrived = time.perf_counter() - began
    logged = calls * metrics
    return {"microseconds": called / logged * 1e6, "cpu": cpu / logged * 1e6, "rate": logged / arrived}


def main(uri: str) -> None:
    """Measure and print."""
    run = _Run(uri)
    figures = {
        "log_metric": _measure(100, 1, lambda: run.log_metric(synchronous=True)),
        "log_metric, async": _measure(300, 1, lambda: run.log_metric(synchronous=False)),
        "log_batch of 10": _measure(100, 10, lambda: run.log_batch(10, synchronous=True)),
        "log_batch of 10, async": _measure(300, 10, lambda: run.log_batch(10, synchronous=False)),
        "log_batch of 1,000": _measure(20, 1000, lambda: run.log_batch(1000, synchronous=True)),
    }
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1])
