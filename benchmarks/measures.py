"""The measurements of a running server. Each function returns plain numbers by name."""

from __future__ import annotations

import base64
import json
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from benchmarks.client import Load, Result
from benchmarks.servers import API, Server

__all__ = [
    "LARGE",
    "RECORD",
    "ask",
    "large",
    "large_body",
    "predictions",
    "put_any_load",
    "put_load",
    "startup",
    "watched",
    "watches",
]

#: One record of 64 float32 as base64: 358 bytes of JSON.
RECORD = json.dumps({"record": base64.b64encode(struct.pack("<64f", *(n / 64 for n in range(64)))).decode()})

#: Bytes of a large data map.
LARGE = 16 * 1024 * 1024

#: Seconds between two measurements of the memory.
_LOOK = 0.001


def put_any_load(load: Load) -> Result:
    """Put a load on a server from a separate process, and count the errors."""
    command = [sys.executable, "-m", "benchmarks.client"]
    done = subprocess.run(command, input=json.dumps(asdict(load)), text=True, stdout=subprocess.PIPE, check=True)
    return Result(**json.loads(done.stdout))


def put_load(load: Load) -> Result:
    """Put a load on a server from a separate process.

    Raises:
        RuntimeError: a response was wrong.
    """
    result = put_any_load(load)
    if result.errors or not result.answers:
        raise RuntimeError(f"{result.errors} errors and {result.answers} answers under {load.path}: {result.problems}")
    return result


def predictions(server: Server, connections: int, seconds: float) -> Result:
    """Ask for predictions as fast as they are answered."""
    return put_load(Load(server.port, server.predict, RECORD, connections, seconds))


def ask(server: Server, connections: int, seconds: float, rate: float | None = None) -> Result:
    """Ask for the status, as fast as it is answered or at a rate."""
    return put_load(Load(server.port, server.status, None, connections, seconds, rate))


def startup(server: Server) -> dict[str, float]:
    """Return the duration of the start in seconds, and the memory of the server at rest in bytes."""
    server.settled()
    return {"started": server.started, "ready": server.ready, "memory": float(server.memory())}


def large_body() -> str:
    """Return a data map of :data:`LARGE` bytes in 16 records."""
    record = base64.b64encode(bytes(range(256)) * (LARGE // 16 // 256 * 3 // 4)).decode()
    return json.dumps({f"record-{number}": record for number in range(16)})


def large(server: Server, seconds: float) -> dict[str, float]:
    """Return the rate of large requests per second over one connection, and their peak of memory above that at rest."""
    body = large_body()
    rest = server.settled()
    with _peak(server) as peak:
        first = put_load(Load(server.port, server.predict, body, seconds=30, limit=1))
    result = put_load(Load(server.port, server.predict, body, seconds=max(3.0, seconds)))
    return {"rate": 1000 / result.p50, "first": first.p50, "peak": (peak[0] - rest) / len(body)}


@contextmanager
def _peak(server: Server) -> Iterator[list[int]]:
    """Record the peak memory of the processes together, by frequent measurements."""
    seen = [0]
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_LOOK):
            seen[0] = max(seen[0], server.resident())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


@contextmanager
def watches(server: Server, count: int) -> Iterator[subprocess.Popen[str]]:
    """Hold ``count`` watches of the status open, in a separate process that reads their events."""
    command = [sys.executable, "-m", "benchmarks.watchers", str(server.port), str(count)]
    process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        if process.stdout.readline().strip() != "open":
            raise RuntimeError(f"The {count} watches could not be opened.")
        yield process
    finally:
        if process.poll() is None:
            process.communicate("", timeout=30)


def watched(server: Server, count: int, seconds: float, rate: float) -> dict[str, float]:
    """Return p99 of GET /status in ms during a training, without and with open watches, and the bytes of a watch."""
    server.call("POST", f"{API}/train")
    server.await_state("training")
    without = ask(server, 1, seconds, rate)
    before = server.memory()
    with watches(server, count):
        time.sleep(1.0)
        taken = server.memory() - before
        during = ask(server, 1, seconds, rate)
    return {"without watches": without.p99, "with watches": during.p99, "each": taken / count}
