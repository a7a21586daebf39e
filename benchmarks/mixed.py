"""``make bench-load``: a mixed load on one container for ten minutes: errors, latencies, and whether the memory grows.

Stream predictions are refused during a training, so the two alternate in the same container: each cycle is a
phase of stream predictions and status calls, then a training with status calls. The watches stay open over all of it, and
clients write to its tracking server.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from benchmarks.client import Load, Result
from benchmarks.measures import RECORD, put_load, watches
from benchmarks.servers import API, Server, allow_many_connections, ours, running
from benchmarks.table import machine, markdown

__all__: list[str] = []

_WATCHES = 1_000

#: Connections of the stream predictions and of the status calls, and the rate of the latter per second.
_STREAMS, _ASKING, _ASKED = 64, 4, 100.0

#: Clients of the tracking server, the points of each of their batches, and the seconds between two of those.
_WRITERS, _POINTS, _PAUSE = 8, 20, 0.5

#: Seconds of a training, and between two of its reports.
_TRAINING, _INTERVAL = 2.0, 0.05

#: The fraction of the cycles after which the memory should stay constant: pools and caches have filled by then.
_WARM = 0.4

#: The version by which the history of the status, which holds 1,024, is full, and grows no more.
_FULL = 1_100


def _fill_history(server: Server) -> None:
    """Change the state until the history of the status has grown to its full length, which would look like a leak."""
    while server.call("GET", server.status)["objectInfo"]["resourceVersion"] < _FULL:
        server.call("POST", f"{API}/buildModel")
        server.await_state("ready")


def _predicting(server: Server, seconds: float) -> dict[str, Result]:
    """Put stream predictions and status calls on the server at the same time."""
    loads = {
        "streamPredict": Load(server.port, server.predict, RECORD, _STREAMS, seconds),
        "status during streams": Load(server.port, server.status, None, _ASKING, seconds, _ASKED),
    }
    with ThreadPoolExecutor(len(loads)) as pool:
        return dict(zip(loads, pool.map(put_load, loads.values()), strict=True))


def _training(server: Server) -> dict[str, Result]:
    """Train, and request the status in the meantime."""
    server.await_state("ready")  # the last requests of the phase before may still be on their way
    server.call("POST", f"{API}/train")
    asked = put_load(Load(server.port, server.status, None, _ASKING, _TRAINING, _ASKED))
    server.await_state("ready")
    return {"status during training": asked}


@contextmanager
def _writers(server: Server) -> Iterator[None]:
    """Let clients write to the tracking server."""
    ended = threading.Event()

    def write() -> None:
        path = "/api/2.0/mlflow/runs"
        run = server.call("POST", f"{path}/create", {"experiment_id": "0", "start_time": 1})
        run_id, first = run["run"]["info"]["run_id"], 0
        while not ended.wait(_PAUSE):
            points = [{"key": "m", "value": n, "timestamp": n, "step": n} for n in range(first, first + _POINTS)]
            server.call("POST", f"{path}/log-batch", {"run_id": run_id, "metrics": points})
            first += _POINTS

    with ThreadPoolExecutor(_WRITERS) as pool:
        writing = [pool.submit(write) for _ in range(_WRITERS)]
        try:
            yield
        finally:
            ended.set()
    for each in writing:
        each.result()


def _cycles(server: Server, cycles: int, seconds: float) -> tuple[dict[str, list[Result]], list[tuple[float, int]]]:
    """Return the results of each load, and the memory of the service's own process over time."""
    results: dict[str, list[Result]] = defaultdict(list)
    memory: list[tuple[float, int]] = []
    phases: list[Callable[[], dict[str, Result]]] = [partial(_predicting, server, seconds), partial(_training, server)]
    for number in range(cycles):
        print(f"cycle {number + 1} of {cycles}", file=sys.stderr, flush=True)
        for phase in phases:
            for name, result in phase().items():
                results[name].append(result)
        memory.append((time.monotonic(), server.resident_itself()))
    return results, memory


def _report(results: dict[str, list[Result]], memory: list[tuple[float, int]], seen: dict[str, int]) -> str:
    lines = []
    for name, each in results.items():
        answers, errors = sum(r.answers for r in each), sum(r.errors for r in each)
        p50, p99 = statistics.median(r.p50 for r in each), max(r.p99 for r in each)
        lines.append((name, f"{answers:,}", str(errors), f"{p50:.2f}", f"{p99:.2f}"))
    lines.append((f"{_WATCHES} watches", f"{seen['events']:,} events", str(seen["ends"]), "", ""))
    warm = memory[int(len(memory) * _WARM) :]
    growth = statistics.linear_regression(*zip(*warm, strict=True)).slope * 60 if len(warm) > 1 else 0.0
    table = markdown(("load", "answers", "errors", "p50, ms", "p99, ms, worst cycle"), lines)
    return (
        f"{table}\n\nMemory of the service: {warm[0][1] / 1e6:.1f} MB when warm, {warm[-1][1] / 1e6:.1f} MB after another "
        f"{(warm[-1][0] - warm[0][0]) / 60:.1f} minutes: {growth / 1e6:+.2f} MB a minute."
    )


def main() -> None:
    """Put the load on and print the results; any error ends it with a message."""
    parser = argparse.ArgumentParser(prog="benchmarks.mixed", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="the duration in seconds (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="ten seconds, to see that it works")
    options = parser.parse_args()
    streaming = 4.0
    cycles = max(1, round((10 if options.quick else options.seconds) / (streaming + _TRAINING)))
    allow_many_connections()
    steps = round(_TRAINING / _INTERVAL)
    with (
        tempfile.TemporaryDirectory() as folder,
        running(ours("Logistic", "--state-dir", folder, interval=_INTERVAL, steps=steps)) as server,
        watches(server, _WATCHES) as open_watches,
    ):
        _fill_history(server)
        with _writers(server):
            results, memory = _cycles(server, cycles, streaming)
        seen = json.loads(open_watches.communicate("", timeout=30)[0])
    print(f"{machine()}\n\n{_report(results, memory, seen)}")


if __name__ == "__main__":
    main()
