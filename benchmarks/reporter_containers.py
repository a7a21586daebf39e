"""The containers of the reporter's benchmark, each with another remote, and the points that MLflow's server has received."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.servers import API, Server, ours, running
from tests.support.remotes import MlflowServer, Proxy

__all__ = ["LATENCY", "OFF", "SLOW", "UP", "Container", "Remote", "Took", "containers"]

#: The titles of the reference container, and of the one that delivers.
OFF, UP, SLOW = "off", "remote up", "remote slow"

#: Seconds by which the slow remote delays each piece of a response.
LATENCY = 0.2

#: Maximum seconds until reports have reached the remote.
_TIMEOUT = 60.0


class Remote:
    """MLflow's own server, with its database, which shows the points that have arrived."""

    def __init__(self, folder: Path) -> None:
        self.server = MlflowServer(folder)
        self._file = folder / "mlflow.db"

    def points(self, run_id: str) -> int:
        """Return how many points of a container's run have arrived."""
        query = (
            "SELECT count(*) FROM metrics JOIN tags ON metrics.run_uuid = tags.run_uuid "
            "WHERE tags.key = 'mistk.sourceRunId' AND tags.value = ? AND metrics.key LIKE 'metric_%'"
        )
        with contextlib.closing(sqlite3.connect(f"file:{self._file}?mode=ro", uri=True, timeout=30)) as connection:
            return int(connection.execute(query, (run_id,)).fetchone()[0])


@dataclass(frozen=True)
class Took:
    """The duration of the loop of a training in seconds, and the worker's processor time."""

    seconds: float
    cpu: float


@dataclass
class Container:
    """A container with the model ``Reporting``.

    Attributes:
        title: its description.
        server: the container.
        remote: the remote that has to receive the reports; None if it cannot.
    """

    title: str
    server: Server
    remote: Remote | None
    _reported: int = 0
    _properties: dict[str, Any] = field(default_factory=dict)

    def train(self, steps: int, metrics: int, *, computes: bool) -> Took:
        """Run a training with a number of steps, each of which reports a number of metrics."""
        before = self._payload().get("done", 0)
        properties = {"steps": steps, "metrics": metrics, "computes": computes}
        if properties != self._properties:
            self.server.call("POST", f"{API}/updateStreamProperties", properties)
            self.server.await_state("ready")
            self._properties = properties
        self.server.call("POST", f"{API}/train")
        self.server.await_state("ready")
        payload = self._payload()
        if payload["done"] != before + steps:
            raise RuntimeError(f"{self.title}: the training made {payload['done'] - before} steps and not {steps}")
        self._reported += steps * metrics
        return Took(payload["seconds"], payload["cpu"])

    def settle(self) -> None:
        """Wait until all reports have arrived, so that they do not disturb the next measurement.

        Raises:
            RuntimeError: too little or too much arrives.
        """
        if self.remote is None or not self._reported:
            return
        run_id = self._payload()["run"]["id"]
        deadline = time.perf_counter() + _TIMEOUT
        while (arrived := self.remote.points(run_id)) < self._reported and time.perf_counter() < deadline:
            time.sleep(0.02)
        if arrived != self._reported:
            raise RuntimeError(f"{self.title}: {arrived} of {self._reported} points have arrived")

    def _payload(self) -> dict[str, Any]:
        payload: dict[str, Any] = self.server.call("GET", f"{API}/status")["payload"]
        return payload


@contextlib.contextmanager
def containers(folder: Path) -> Iterator[tuple[Remote, list[Container]]]:
    """Start MLflow's server and the containers; the first two are without tracking, and show how large the noise is."""
    with contextlib.ExitStack() as stack:
        remote = Remote(folder / "mlflow")
        stack.enter_context(remote.server)
        slow, hanging, gone = (
            stack.enter_context(Proxy(remote.server.url, latency=LATENCY if mode == "pass" else 0))
            for mode in ("pass", "hang", "gone")
        )
        slow.become("pass")
        hanging.become("hang")
        places: list[tuple[str, list[str], Remote | None]] = [
            (OFF, ["--no-tracking"], None),
            ("off, another container", ["--no-tracking"], None),
            ("local store only", [], None),
            (UP, ["--tracking-uri", remote.server.url], remote),
            (SLOW, ["--tracking-uri", slow.url], remote),
            ("remote hanging", ["--tracking-uri", hanging.url], None),
            ("remote gone", ["--tracking-uri", gone.url], None),
        ]
        started = []
        for number, (title, options, arrives) in enumerate(places):
            state = str(folder / f"state-{number}")
            server = stack.enter_context(running(ours("Reporting", "--state-dir", state, *options)))
            started.append(Container(title, server, arrives))
        yield remote, started
