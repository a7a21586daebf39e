"""``make bench-scale``: measures replicas, reloads and deaths under load, and compares Ray with processes."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.client import Load
from benchmarks.measures import RECORD, predictions, put_any_load
from benchmarks.servers import API, Server, allow_many_connections, ours, peer, running
from benchmarks.table import Figures, Row, machine, render

__all__: list[str] = []

_REPLICAS, _CONNECTIONS = 2, 64

#: Seconds between two disturbances of a load.
_EVERY = 1.0

_ROWS = [
    Row("heavy MLP, 64 connections, 2 replicas / 1", ("two", "rate"), ("one", "rate"), "/s", 1.7),
    Row("its p99", ("two", "p99"), ("one", "p99"), "ms", None),
    Row("its processor time for an answer, workers", ("two", "workers"), ("one", "workers"), "ms", None),
    Row("its processor time for an answer, service", ("two", "service"), ("one", "service"), "ms", None),
    Row("its processor time for an answer, client", ("two", "client"), ("one", "client"), "ms", None),
    Row("p99 with a rolling reload a second / without", ("reload", "p99"), ("two", "p99"), "ms", 3, at_least=False),
    Row("reloads", ("reload", "times"), None, "", None),
    Row("errors and wrong answers", ("reload", "errors"), None, "", 0, at_least=False),
    Row("p99 with a replica killed a second / without", ("kill", "p99"), ("two", "p99"), "ms", None),
    Row("replicas killed", ("kill", "times"), None, "", None),
    Row("errors and wrong answers", ("kill", "errors"), None, "", 0, at_least=False),
    Row("MLP, 64 connections, 2 replicas / 1", ("mlp two", "rate"), ("mlp one", "rate"), "/s", None),
    Row("its processor time for an answer, workers", ("mlp two", "workers"), ("mlp one", "workers"), "ms", None),
    Row("its processor time for an answer, service", ("mlp two", "service"), ("mlp one", "service"), "ms", None),
    Row("its processor time for an answer, client", ("mlp two", "client"), ("mlp one", "client"), "ms", None),
    Row("p50, 1 connection, worker on Ray / process", ("ray", "single"), ("small one", "single"), "ms", None),
    Row("overhead of Ray for a prediction", ("ray", "overhead"), None, "ms", 1.5, at_least=False),
    Row("logistic, 64 connections, worker on Ray / process", ("ray", "rate"), ("small one", "rate"), "/s", None),
    Row("logistic, 64 connections, Ray Serve", ("small one", "rate"), ("ray serve", "rate"), "/s", 2),
    Row("its p99", ("small one", "p99"), ("ray serve", "p99"), "ms", None),
]


def _usable(payload: dict[str, Any]) -> int:
    count: int = payload["replicas"]["usable"]
    return count


def _complete(server: Server) -> None:
    """Wait until all replicas have the model."""
    server.await_payload(lambda payload: _usable(payload) == _REPLICAS)


def _reload(server: Server) -> None:
    server.call("POST", f"{API}/buildModel")
    server.await_payload(lambda payload: "activity" not in payload)


def _kill(server: Server) -> None:
    """Kill a replica, and wait until it is replaced."""
    _worker, replica, *_ = server.workers()
    os.kill(replica, signal.SIGKILL)
    server.await_payload(lambda payload: _usable(payload) < _REPLICAS)
    _complete(server)


def _plain(server: Server, seconds: float) -> dict[str, float]:
    predictions(server, 1, min(1.0, seconds))  # it is warm
    single = predictions(server, 1, seconds)
    before = (*server.processor_time(), _children())
    result = predictions(server, _CONNECTIONS, seconds)
    service, workers, client = (
        (now - then) / result.answers * 1000
        for now, then in zip((*server.processor_time(), _children()), before, strict=True)
    )
    times = {"service": service, "workers": workers, "client": client}
    return {"rate": result.rate, "p99": result.p99, "single": single.p50, **times}


def _children() -> float:
    """Return the processor time of the children that have ended, which are clients, in seconds."""
    times = os.times()
    return times.children_user + times.children_system


def _disturbed(disturb: Callable[[Server], None]) -> Callable[[Server, float], dict[str, float]]:
    """Return a function that measures a server during repeated disturbances."""

    def measure(server: Server, seconds: float) -> dict[str, float]:
        label = server.call("POST", server.predict, json.loads(RECORD))["record"]["label"]
        load = Load(server.port, server.predict, RECORD, _CONNECTIONS, seconds, expected=f'"label":"{label}"')
        with _repeated(lambda: disturb(server)) as times:
            result = put_any_load(load)
        return {"p99": result.p99, "errors": float(result.errors), "times": float(len(times))}

    return measure


@contextmanager
def _repeated(work: Callable[[], None]) -> Iterator[list[None]]:
    """Repeat something once a second, or as soon as it is done; yield a list with an item for each time."""
    ended = threading.Event()
    times: list[None] = []

    def repeat() -> None:
        while not ended.wait(_EVERY):
            work()
            times.append(None)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield times
    finally:
        ended.set()
        thread.join()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.scale", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="the number of rounds (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="the seconds of each load (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it works")
    options = parser.parse_args()
    rounds, seconds = (1, 3.0) if options.quick else (options.rounds, options.seconds)
    allow_many_connections()
    figures = Figures()
    two = ("--replicas", str(_REPLICAS))
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        for name, start in (
            ("one", ours("Heavy")),
            ("two", ours("Heavy", *two)),
            ("mlp one", ours("Mlp")),
            ("mlp two", ours("Mlp", *two)),
            ("small one", ours("Logistic")),
            ("ray", ours("Logistic", "--worker", "ray")),
            ("ray serve", peer("ray_serve", Path(sys.executable), "logistic")),
        ):
            with running(start) as server:
                if name.endswith("two"):
                    _complete(server)
                figures.add(name, **_plain(server, seconds))
                if name == "two":
                    figures.add("reload", **_disturbed(_reload)(server, seconds))
                    figures.add("kill", **_disturbed(_kill)(server, seconds))
        figures.add("ray", overhead=figures.last("ray", "single") - figures.last("small one", "single"))
    print(f"{machine()}; median of {figures.rounds()}\n\n{render(_ROWS, figures)}")


if __name__ == "__main__":
    main()
