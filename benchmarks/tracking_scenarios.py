"""The scenarios of the tracking benchmark.

A scenario is a generator that yields requests and receives their responses, so that only the time from request to response
is measured, and not the encoding and decoding.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import msgspec

from benchmarks.tracking_peers import LONG_RUN, POINTS, RUNS, Client, Peer, request

__all__ = ["SCENARIOS", "Scenario", "hammer", "repeat"]

Requests = Generator[bytes, bytearray, None]


def log_metric(peer: Peer) -> Requests:
    """Log one point."""
    step = next(peer.counter)
    yield request(
        "POST", "/runs/log-metric",
        {"run_id": peer.target, "key": "m", "value": 0.5, "timestamp": step, "step": step},
    )  # fmt: skip


def create_run(peer: Peer) -> Requests:  # noqa: ARG001 - all scenarios have the peer
    """Create a run."""
    yield request("POST", "/runs/create", {"experiment_id": "0", "start_time": 1})


def get_run(peer: Peer) -> Requests:
    """Get a run."""
    yield request("GET", f"/runs/get?run_id={peer.target}")


def log_batch(peer: Peer) -> Requests:
    """Log a thousand points."""
    first = next(peer.counter) * 1000
    points = [{"key": "b", "value": 0.5, "timestamp": first + n, "step": first + n} for n in range(1000)]
    yield request("POST", "/runs/log-batch", {"run_id": peer.target, "metrics": points})


def search_few(peer: Peer) -> Requests:  # noqa: ARG001
    """Find some tens of runs by a metric and a param, ordered."""
    query = {"filter": "metrics.loss < 0.04 AND params.depth = '3'", "order_by": ["metrics.accuracy DESC"]}
    answer = yield request("POST", "/runs/search", {"experiment_ids": ["1"], **query})
    assert 20 < len(_decoded(answer)["runs"]) < 100


def search_many(peer: Peer) -> Requests:  # noqa: ARG001
    """Get a thousand runs, ordered by a metric."""
    query = {"experiment_ids": ["1"], "order_by": ["metrics.loss ASC"], "max_results": 1000}
    answer = yield request("POST", "/runs/search", query)
    assert len(_decoded(answer)["runs"]) == 1000


def search_all(peer: Peer) -> Requests:  # noqa: ARG001
    """Get all runs, a thousand at a time."""
    token, seen = None, 0
    while token is not None or not seen:
        query = {"experiment_ids": ["1"], "max_results": 1000, "page_token": token}
        page = _decoded((yield request("POST", "/runs/search", query)))
        seen += len(page["runs"])
        token = page.get("next_page_token")
    assert seen == RUNS


def get_history(peer: Peer) -> Requests:  # noqa: ARG001
    """Get a long history, in pages of the size of MLflow's client."""
    token, seen = "", 0
    while token or not seen:
        path = f"/metrics/get-history?run_id={LONG_RUN}&metric_key=long&max_results=25000&page_token={token}"
        page = _decoded((yield request("GET", path)))
        seen += len(page["metrics"])
        token = page.get("next_page_token", "")
    assert seen == POINTS


@dataclass(frozen=True)
class Scenario:
    """A measurement, and the target of its ratio.

    Attributes:
        title: for the table.
        requests: yields the requests.
        clients: the number of concurrent clients.
        wanted: the target of the ratio.
        samples: the number of runs in a round; 0 means as many as possible within a time.
        weight: the number of items in a request.
    """

    title: str
    requests: Callable[[Peer], Requests]
    clients: int
    wanted: float
    samples: int = 0
    weight: int = 1


SCENARIOS = [
    Scenario("log-metric, 1 client", log_metric, 1, 10),
    Scenario("log-metric, 16 clients", log_metric, 16, 10),
    Scenario("runs/create, 1 client", create_run, 1, 10),
    Scenario("runs/create, 16 clients", create_run, 16, 10),
    Scenario("runs/get, 1 client", get_run, 1, 10),
    Scenario("runs/get, 16 clients", get_run, 16, 10),
    Scenario("log-batch of 1,000, metrics", log_batch, 1, 20, weight=1000),
    Scenario("search: filter and order, some tens of hits", search_few, 1, 10, samples=9),
    Scenario("search: 1,000 hits by a metric", search_many, 1, 10, samples=3),
    Scenario("search: all 10,000 in pages", search_all, 1, 10, samples=1),
    Scenario("get-history of 100,000 points", get_history, 1, 10, samples=1),
]


def repeat(peer: Peer, scenario: Scenario) -> list[float]:
    """Return the seconds of each run of a scenario, without the first one, which warms up."""
    client = Client(peer)
    if scenario.title not in peer.warm:
        _timed(client, scenario.requests(peer))
        peer.warm.add(scenario.title)
    return [_timed(client, scenario.requests(peer)) for _ in range(scenario.samples)]


def hammer(peer: Peer, scenario: Scenario, seconds: float) -> list[float]:
    """Return the seconds of each call, over all clients."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    def work() -> None:
        client = Client(peer)
        while time.perf_counter() < end:
            times.append(_timed(client, scenario.requests(peer)))

    threads = [threading.Thread(target=work) for _ in range(scenario.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def _timed(client: Client, requests: Requests) -> float:
    """Return how long a server took for all requests of a scenario, in seconds."""
    took = 0.0
    try:
        message = next(requests)
        while True:
            begun = time.perf_counter()
            answer = client.exchange(message)
            took += time.perf_counter() - begun
            message = requests.send(answer)
    except StopIteration:
        return took


def _decoded(answer: bytearray) -> Any:
    return msgspec.json.decode(answer)
