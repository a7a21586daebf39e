"""Servers under test: starts them one at a time, waits until they respond, measures them from outside, and ends them."""

from __future__ import annotations

import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["API", "Server", "allow_many_connections", "free_port", "ours", "peer", "running"]

API = "/v1/mistk"

_ROOT = Path(__file__).resolve().parent.parent

#: Maximum seconds for a server to start, to change its state, and to end.
_TIMEOUT = 60.0

#: Seconds for which the memory of a server at rest does not change.
_SETTLED = 1.0


@dataclass
class Server:
    """A running server.

    Attributes:
        process: its first process.
        port: its port.
        grpc_port: its port for gRPC, if any.
        predict: the path of a prediction.
        status: the path of the cheapest GET that is more than a constant.
        headers: sent with every call.
        started: seconds from the start of the process to the first answer.
        ready: seconds from the start of the process until it accepts operations.
    """

    process: subprocess.Popen[bytes]
    port: int
    predict: str
    status: str
    grpc_port: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)
    started: float = 0.0
    ready: float = 0.0

    def pids(self) -> list[int]:
        """Return the server's processes, the first one first."""
        return [self.process.pid, *_descendants(self.process.pid)]

    def memory(self) -> int:
        """Return the memory of all its processes in bytes; pages that they share count once."""
        return sum(_pss(pid) for pid in self.pids())

    def resident(self) -> int:
        """Return the resident memory of all its processes in bytes: cheap enough for frequent measurements."""
        return sum(_rss(pid) for pid in self.pids())

    def resident_itself(self) -> int:
        """Return the resident memory of its first process alone, in bytes."""
        return _rss(self.process.pid)

    def settled(self) -> int:
        """Return the resident memory once it is constant: a server may load more after its first response."""
        deadline, last, since = time.perf_counter() + _TIMEOUT, 0, 0.0
        while (now := time.perf_counter()) < deadline and not (last and now - since >= _SETTLED):
            if (resident := self.resident()) != last:
                last, since = resident, now
            time.sleep(0.05)
        return last

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Return the JSON response to a call.

        Raises:
            RuntimeError: the status is not 200.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_TIMEOUT)
        try:
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), {**headers, **self.headers})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path} was answered with {answer.status}: {text[:500]!r}")
        return json.loads(text)

    def await_state(self, wanted: str) -> None:
        """Wait until the service shows a state."""
        deadline = time.perf_counter() + _TIMEOUT
        while (status := self.call("GET", f"{API}/status"))["state"] != wanted:
            if time.perf_counter() > deadline or status["state"] == "failed":
                raise RuntimeError(f"The service is {status['state']} and not {wanted}: {status['payload']}")
            time.sleep(0.002)

    def await_payload(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        """Wait until the payload of the status is wanted."""
        deadline = time.perf_counter() + _TIMEOUT
        while not wanted(payload := self.call("GET", f"{API}/status")["payload"]):
            if time.perf_counter() > deadline:
                raise RuntimeError(f"The payload of the status stayed {payload}")
            time.sleep(0.002)

    def processor_time(self) -> tuple[float, float]:
        """Return the seconds of processors that the service has used, and those that its workers have."""
        return _seconds(self.process.pid), sum(map(_seconds, self.workers()))

    def workers(self) -> list[int]:
        """Return the children of the server, the one that was started first at the beginning."""
        return sorted(
            int(pid)
            for thread in _listed(f"/proc/{self.process.pid}/task")
            for pid in Path(f"/proc/{self.process.pid}/task/{thread}/children").read_text().split()
        )


def ours(
    model: str, *options: str, grpc: bool = False, headers: dict[str, str] | None = None, **hyperparameters: Any
) -> Callable[[], Server]:
    """Return a function that starts this service with a class of benchmarks/served.py and makes it ready.

    Args:
        model: the class.
        options: further arguments of ``mistk-service serve``.
        grpc: whether to serve gRPC too.
        headers: sent with every call.
        hyperparameters: for the model.
    """

    def start() -> Server:
        port = free_port()
        reference = f"{_ROOT / 'benchmarks' / 'served.py'}:{model}"
        command = [sys.executable, "-m", "mistk_service", "serve", reference, "--port", str(port), *options]
        grpc_port = free_port()
        if grpc:
            command += ["--grpc-port", str(grpc_port)]
        server = Server(_launch(command), port, f"{API}/streamPredict", f"{API}/status", grpc_port, headers or {})
        server.started = _first_answer(server, "/healthz")
        server.call("POST", f"{API}/initialize", {"hyperparameters": hyperparameters})
        server.await_state("initialized")
        server.ready = time.perf_counter() - server.began
        server.call("POST", f"{API}/buildModel")
        server.await_state("ready")
        return server

    return start


def peer(
    name: str, python: Path, model: str, predict: str = "/predict", health: str = "/health"
) -> Callable[[], Server]:
    """Return a function that starts a server of benchmarks/peers with one of the models, with the interpreter of the peers."""

    def start() -> Server:
        port = free_port()
        grpc_port = free_port()
        app = _ROOT / "benchmarks" / "peers" / f"{name}_app.py"
        command = [str(python), str(app), str(port), model, str(grpc_port)]
        server = Server(_launch(command), port, predict, "/status", grpc_port)
        server.started = server.ready = _first_answer(server, health)
        return server

    return start


@contextmanager
def running(start: Callable[[], Server]) -> Iterator[Server]:
    """Start a server, and end it afterwards with its child processes."""
    server = start()
    try:
        yield server
    finally:
        processes = server.pids()
        server.process.send_signal(signal.SIGTERM)
        try:
            server.process.wait(10)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()
        _end(processes[1:])


def allow_many_connections() -> None:
    """Raise the limit of open files as far as it goes, for this process and those it starts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _launch(command: list[str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(_ROOT)}
    log = tempfile.TemporaryFile()  # noqa: SIM115 - the server's as long as it runs
    return subprocess.Popen(command, env=environment, cwd=tempfile.gettempdir(), stdout=log, stderr=log)


def _first_answer(server: Server, path: str) -> float:
    """Wait for the first 200 and return how long it took from the start of the process."""
    while time.perf_counter() - server.began < _TIMEOUT:
        try:
            server.call("GET", path)
        except (OSError, http.client.HTTPException, RuntimeError):
            if server.process.poll() is not None:
                raise RuntimeError(
                    f"The server ended with {server.process.returncode}: {server.process.args}"
                ) from None
            time.sleep(0.005)
        except json.JSONDecodeError:
            return time.perf_counter() - server.began  # LitServe's health is a word
        else:
            return time.perf_counter() - server.began
    server.process.kill()
    raise RuntimeError(f"The server did not answer within {_TIMEOUT:g} s: {server.process.args}")


def _end(pids: list[int]) -> None:
    """End the processes that a server has left behind."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def free_port() -> int:
    """Return a free port on loopback."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for thread in _listed(f"/proc/{pid}/task"):
        try:
            children = Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
        except OSError:
            continue
        for child in map(int, children):
            found += [child, *_descendants(child)]
    return found


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _rss(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0
