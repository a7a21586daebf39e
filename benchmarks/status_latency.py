"""Measures ``GET /status``: at rest, while the model burns CPU in training, and with idle watchers.

Starts a service on a free port, sends requests over one connection, and prints the percentiles of each situation::

    python benchmarks/status_latency.py [--requests 2000] [--watchers 1000] [--worker process]
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import platform
import re
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from mistk_service import AbstractModel

API = "/v1/mistk"


class Burning(AbstractModel):
    """Trains for ever in pure Python, which keeps the interpreter as busy as possible."""

    def do_train(self) -> None:
        """Compute, with a pause point every few milliseconds, and report a metric at each."""
        number = 1
        for step in self.steps(itertools.count(), "turns"):
            for _ in range(100_000):
                number = (number * 1103515245 + 12345) % 2**31
            self.report_metrics({"number": number}, step=step)


@contextlib.contextmanager
def service(worker: str) -> Iterator[str]:
    """Run a service of the model above; yield its URL."""
    command = [sys.executable, "-m", "mistk_service", "serve", f"{Path(__file__).resolve()}:Burning"]
    with subprocess.Popen([*command, "--port", "0", "--worker", worker], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            found = re.search(r"http://[\d.]+:\d+", process.stderr.readline())
            if not found:
                raise SystemExit("The service did not start:\n" + process.stderr.read())
            yield found.group()
        finally:
            process.terminate()


def wait_for(client: httpx.Client, state: str) -> None:
    """Follow the watch until the instance is in the state."""
    with client.stream("GET", "/status?watch=true") as response:
        for line in response.iter_lines():
            if f'"state":"{state}"' in line and client.get("/status").json()["state"] == state:
                return


def measure(client: httpx.Client, requests: int, label: str) -> None:
    """Send a number of requests in sequence, and print the percentiles."""
    seconds = []
    for _ in range(requests):
        began = time.perf_counter()
        client.get("/status").raise_for_status()
        seconds.append(time.perf_counter() - began)
    seconds.sort()
    p50, p90, p99 = (seconds[int(len(seconds) * share)] * 1000 for share in (0.5, 0.9, 0.99))
    rate = len(seconds) / sum(seconds)
    print(f"{label:28} {p50:8.2f} {p90:8.2f} {p99:8.2f} {seconds[-1] * 1000:8.2f} {rate:10.0f}")


def open_watches(url: str, count: int, stack: contextlib.ExitStack) -> None:
    """Open a number of watches of the status without reading them."""
    host, port = url.removeprefix("http://").split(":")
    for _ in range(count):
        sock = stack.enter_context(socket.create_connection((host, int(port))))
        sock.sendall(f"GET {API}/status?watch=true HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        sock.recv(1)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=2000, help="in each situation (default: %(default)s)")
    parser.add_argument("--watchers", type=int, default=1000, help="idle ones (default: %(default)s)")
    parser.add_argument("--worker", choices=["process", "thread"], default="process")
    options = parser.parse_args()
    # The service inherits the limit.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"Python {platform.python_version()}, worker: {options.worker}; GET /status in ms, over one connection")
    print(f"{'':28} {'p50':>8} {'p90':>8} {'p99':>8} {'max':>8} {'requests/s':>10}")
    with service(options.worker) as url, httpx.Client(base_url=url + API) as client, contextlib.ExitStack() as stack:
        client.post("/initialize", json={})
        wait_for(client, "initialized")
        client.post("/buildModel")
        wait_for(client, "ready")
        measure(client, 200, "(warming up)")
        measure(client, options.requests, "at rest")
        open_watches(url, options.watchers, stack)
        measure(client, options.requests, f"{options.watchers} idle watchers")
        stack.close()
        client.post("/train").raise_for_status()
        measure(client, options.requests, "in training")
        open_watches(url, 10, stack)
        measure(client, options.requests, "in training, 10 watchers")


if __name__ == "__main__":
    main()
