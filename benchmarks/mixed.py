"""``make bench-load``: a mixed load on one container for a minute: errors, latencies, and whether the memory grows.

The state table lets no stream prediction run beside a training, so the two take turns in the same container: each cycle is a
phase of stream predictions and status calls, then a training with status calls. The watches stay open over all of it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from benchmarks.client import Load, Result
from benchmarks.measures import RECORD, put_load, watches
from benchmarks.servers import API, Server, allow_many_connections, ours, running
from benchmarks.table import machine

__all__: list[str] = []

_WATCHES = 100

#: Connections of the stream predictions and of the status calls, and how many of the latter a second.
_STREAMS, _ASKING, _ASKED = 16, 4, 100.0

#: Seconds of a training, and between two of its reports.
_TRAINING, _INTERVAL = 2.0, 0.05

#: Cycles after which the memory is taken for what it should stay at.
_WARM = 2

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
        "status beside streams": Load(server.port, server.status, None, _ASKING, seconds, _ASKED),
    }
    with ThreadPoolExecutor(len(loads)) as pool:
        return dict(zip(loads, pool.map(put_load, loads.values()), strict=True))


def _training(server: Server) -> dict[str, Result]:
    """Train, and ask for the status meanwhile."""
    server.await_state("ready")  # the last requests of the phase before may still be on their way
    server.call("POST", f"{API}/train")
    asked = put_load(Load(server.port, server.status, None, _ASKING, _TRAINING, _ASKED))
    server.await_state("ready")
    return {"status during training": asked}


def _cycles(server: Server, cycles: int, seconds: float) -> tuple[dict[str, list[Result]], list[int]]:
    results: dict[str, list[Result]] = defaultdict(list)
    memory: list[int] = []
    phases: list[Callable[[], dict[str, Result]]] = [partial(_predicting, server, seconds), partial(_training, server)]
    for number in range(cycles):
        print(f"cycle {number + 1} of {cycles}", file=sys.stderr, flush=True)
        for phase in phases:
            for name, result in phase().items():
                results[name].append(result)
        memory.append(server.memory())
    return results, memory


def _report(results: dict[str, list[Result]], memory: list[int], seen: dict[str, int]) -> str:
    lines = ["| load | answers | errors | p50, ms | p99, ms, worst cycle |", "| --- | --- | --- | --- | --- |"]
    for name, each in results.items():
        answers, errors = sum(r.answers for r in each), sum(r.errors for r in each)
        p50, p99 = statistics.median(r.p50 for r in each), max(r.p99 for r in each)
        lines.append(f"| {name} | {answers:,} | {errors} | {p50:.2f} | {p99:.2f} |")
    warm, last = memory[min(_WARM, len(memory)) - 1], memory[-1]
    lines += [
        f"| {_WATCHES} watches | {seen['events']:,} events | {seen['ends']} | | |",
        "",
        f"Memory: {warm / 1e6:.1f} MB after {_WARM} cycles, {last / 1e6:.1f} MB at the end ({(last - warm) / 1e6:+.1f} MB).",
    ]
    return "\n".join(lines)


def _end_watches(process: subprocess.Popen[str]) -> dict[str, int]:
    seen: dict[str, int] = json.loads(process.communicate("", timeout=30)[0])
    return seen


def main() -> None:
    """Put the load on and print what came of it; any error ends it with a message."""
    parser = argparse.ArgumentParser(prog="benchmarks.mixed", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="ten seconds, to see that it works")
    options = parser.parse_args()
    streaming = 4.0
    cycles = max(1, round((10 if options.quick else options.seconds) / (streaming + _TRAINING)))
    allow_many_connections()
    start = ours("Logistic", interval=_INTERVAL, steps=round(_TRAINING / _INTERVAL))
    with running(start) as server, watches(server, _WATCHES) as open_watches:
        _fill_history(server)
        results, memory = _cycles(server, cycles, streaming)
        seen = _end_watches(open_watches)
    print(f"{machine()}\n\n{_report(results, memory, seen)}")


if __name__ == "__main__":
    main()
