"""A real service process, and what the tests do with one.

Nothing here sleeps: what has to be waited for is an event of the watch, a line of the output, or the end of a process, and the
time limit of the test bounds it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Self

import httpx
import psutil

from mistk_service.tracking.sql import SqlStore
from tests.support.preloaded import Forked, clean_environment, starter

API = "/v1/mistk"

#: The headers of a request with a body of JSON, and a record that the model takes.
JSON = {"content-type": "application/json"}
RECORD = base64.b64encode(b"record").decode()

MODELS = Path(__file__).parent / "models"

#: The model of most tests; see the file.
OBEDIENT = f"{MODELS / 'obedient.py'}:Obedient"

#: The timeout of a request in seconds; a test's own limit is longer, so that the failure says which request hung.
REQUEST_TIMEOUT = 60.0

#: Every service that this process has started and not yet ended, for the report of a failed test.
RUNNING: list[Service] = []


class Service:
    """A running service. Its methods fail the test when the answer is an error that the test did not ask about.

    Attributes:
        process: the service.
        url: where it listens, without a path.
        api: a client whose requests are relative to the API's base path.
        lines: the last lines that it printed.

    Args:
        begun: what it prints, with its address, when it is to be used: when the model is there, unless given.
        options: of :func:`start`.
    """

    def __init__(self, *arguments: str, cwd: Path, begun: str = "Serving ", **options: Any) -> None:
        self.lines: deque[str] = deque(maxlen=200)
        self._said = threading.Condition()
        self._silent = False
        reader, writer = os.pipe()
        self._pipe = os.fdopen(reader, errors="replace")
        with open(writer, "wb") as errors, open(os.devnull, "wb") as nothing:
            self.process = start(*arguments, cwd=cwd, stdout=nothing, stderr=errors, **options)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        RUNNING.append(self)
        try:
            line = self.wait_for_line(begun)
        except BaseException:
            self.end()
            raise
        self.url = next(word for word in line.split() if word.startswith("http://"))
        self.api = httpx.Client(
            base_url=self.url + API, timeout=REQUEST_TIMEOUT, limits=httpx.Limits(max_connections=None)
        )
        assert self.api.get(f"{self.url}/healthz").json() == {"status": "alive"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.url.rpartition(":")[2])

    # --- calls ----------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Return the status."""
        return accepted(self.api.get("/status"))

    def settled(self) -> dict[str, Any]:
        """Return the status once it is published, so that it stays what it is as long as nothing happens.

        A change that waits to be published is shown under the version before it, and what waits to be tracked, the start of
        the worker to begin with, is shown when it is.
        """
        self.wait_for_metric("mistk_reporter_waiting", 0)
        while True:
            status = self.status()
            with self.watch(version(status) - 1) as events:
                if next(events)["payload"] == status:
                    return status

    def post(self, operation: str, body: Any = None, **query: Any) -> Any:
        """Call an operation that has to be accepted; return what it answers."""
        content = {} if body is None else {"json": body}
        return accepted(self.api.post(f"/{operation}", params=query, **content))

    def do(self, operation: str, body: Any = None, **query: Any) -> dict[str, Any]:
        """Call an operation and wait until it has ended; return the status in which it left the instance."""
        return self.wait(lambda s: s["state"] in RESTING, self.post(operation, body, **query))

    def wait(self, condition: Callable[[dict[str, Any]], bool], since: dict[str, Any]) -> dict[str, Any]:
        """Return the first status that fulfils ``condition``, of ``since`` and all that comes after it."""
        if condition(since):
            return since
        with self.watch(version(since)) as events:
            for event in events:
                if condition(event["payload"]):
                    return event["payload"]
        raise AssertionError(f"The watch ended at {event['payload']['state']}, and what was waited for never came.")

    def wait_for_state(self, state: str, since: dict[str, Any]) -> dict[str, Any]:
        """Return the first status in ``state``, of ``since`` and all that comes after it."""
        return self.wait(lambda s: s["state"] == state, since)

    @contextlib.contextmanager
    def watch(self, after: int | None = None) -> Iterator[Iterator[dict[str, Any]]]:
        """Open a watch, and give its events, decoded, up to its end."""
        query = {"watch": "true"} | ({} if after is None else {"resourceVersion": str(after)})
        with self.api.stream("GET", "/status", params=query) as response:
            assert response.status_code == 200, response.read()
            yield (json.loads(line) for line in lines_of(response) if line.strip())

    def make_ready(self, **hyperparameters: Any) -> dict[str, Any]:
        """Take a fresh instance to the state ``ready``."""
        self.do("initialize", {"hyperparameters": hyperparameters})
        status = self.do("buildModel")
        assert status["state"] == "ready", status
        return status

    def metric(self, name: str, **labels: str) -> float:
        """Return a figure of /metrics; 0 for one that does not exist yet."""
        from prometheus_client.parser import text_string_to_metric_families

        text = self.api.get(f"{self.url}/metrics").text
        samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

    def wait_for_metric(self, name: str, value: float, **labels: str) -> None:
        """Ask for a figure until it is ``value``; the test's time limit ends the wait."""
        wait_until(lambda: self.metric(name, **labels) == value, every=0.02)

    # --- the process ----------------------------------------------------------------------------------------------

    def worker(self) -> psutil.Process:
        """Return the worker process."""
        children = psutil.Process(self.process.pid).children()
        (worker,) = [child for child in children if "mistk_service.workers.child.main" in _command_line(child)]
        return worker

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the service."""
        self.process.send_signal(number)

    def wait_for_line(self, part: str) -> str:
        """Return the first line printed that contains ``part``."""
        with self._said:
            self._said.wait_for(lambda: self._silent or any(part in line for line in self.lines))
            for line in self.lines:
                if part in line:
                    return line
        raise AssertionError(f"The service ended and never said {part!r}:\n{self.output()}")

    def wait_exit(self) -> int:
        """Wait until the process ends and all that it printed is read; return its exit code."""
        code = self.process.wait(timeout=REQUEST_TIMEOUT)
        self._reader.join(timeout=REQUEST_TIMEOUT)
        return code

    def output(self) -> str:
        """Return the last lines that it printed."""
        return "\n".join(self.lines)

    def end(self) -> None:
        """End the process, whatever it is doing, and what belongs to it."""
        with contextlib.suppress(ValueError):
            RUNNING.remove(self)
        if hasattr(self, "api"):
            self.api.close()
        # The worker's sentinel ends the worker and what that started.
        self.process.kill()
        self.process.wait()
        self._reader.join(timeout=REQUEST_TIMEOUT)

    def _read(self) -> None:
        with self._pipe:
            for line in self._pipe:
                with self._said:
                    self.lines.append(line.rstrip("\n"))
                    self._said.notify_all()
        with self._said:
            self._silent = True
            self._said.notify_all()


#: The states in which nothing runs.
RESTING = ("started", "initialized", "ready", "paused", "failed", "terminated")


def start(
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdout: IO[Any],
    stderr: IO[Any],
    new_interpreter: bool = False,
    measured: bool = True,
    prefix: Sequence[str] = (),
) -> Forked | subprocess.Popen[bytes]:
    """Start ``mistk-service`` with nothing of this environment's own settings.

    Args:
        arguments: the command line.
        cwd: the working directory.
        env: what the environment gets on top.
        stdout: takes the standard output.
        stderr: takes the error output.
        new_interpreter: whether how the command loads is a part of the test. A process that has loaded it forks otherwise.
        measured: whether coverage may be measured; see :func:`~tests.support.preloaded.clean_environment`.
        prefix: a command that starts the one that follows.
    """
    environment = {**clean_environment(measured=measured), **(env or {})}
    if not (new_interpreter or prefix) and not any(name.startswith("PYTHON") for name in env or ()):
        prepared = starter(measured=measured)
        command = ["-m", "mistk_service", *arguments]
        return prepared.start(*command, cwd=cwd, env=environment, stdout=stdout.fileno(), stderr=stderr.fileno())
    command = [*prefix, sys.executable, "-m", "mistk_service", *arguments]
    return subprocess.Popen(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)


def run(*arguments: str, cwd: Path, limit: float = REQUEST_TIMEOUT, **options: Any) -> tuple[int, str, str]:
    """Run ``mistk-service`` to its end, which has to come within ``limit`` s; return exit code, output and error output.

    The options are those of :func:`start`.
    """
    with TemporaryFile() as stdout, TemporaryFile() as stderr:
        process = start(*arguments, cwd=cwd, stdout=stdout, stderr=stderr, **options)
        try:
            code = process.wait(limit)
        finally:
            process.kill()
            process.wait()
        for file in (stdout, stderr):
            file.seek(0)
        return code, stdout.read().decode(), stderr.read().decode()


def version(status: Mapping[str, Any]) -> int:
    """Return the resourceVersion of a status."""
    number: int = status["objectInfo"]["resourceVersion"]
    return number


def _command_line(process: psutil.Process) -> list[str]:
    """Return the command line; none for a process that has ended, such as the worker before a reset."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # or one that is not reaped yet
        return []


def gone(process: psutil.Process) -> bool:
    """Return whether a process has ended; one that is not reaped yet has."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def all_gone(processes: Iterable[psutil.Process]) -> bool:
    """Wait until processes have ended, and return whether they have."""
    deadline = time.monotonic() + REQUEST_TIMEOUT
    waiting = list(processes)

    def none_is_left() -> bool:
        waiting[:] = [process for process in waiting if not gone(process)]
        return not waiting

    wait_until(lambda: none_is_left() or time.monotonic() > deadline, every=0.02)
    return not waiting


def wait_delivered(state: Path) -> None:
    """Wait until the container of a state directory has nothing to forward, by its store; what it has to say is written."""
    with SqlStore.open(f"sqlite:///{state}/tracking.db") as store:
        (remote,) = store.journal.remotes()
        wait_until(lambda: store.journal.backlog(remote.number).depth == 0)


def wait_until(condition: Callable[[], Any], every: float = 0.1) -> None:
    """Ask every so many seconds until something holds; the test's time limit ends the wait.

    In between the machine belongs to what is waited for.
    """
    nobody = threading.Event()
    while not condition():
        nobody.wait(every)


def turns(status: Mapping[str, Any]) -> int:
    """Return how many turns the activity has done, as far as the status tells."""
    done: int = status["payload"].get("progress", {}).get("done", 0)
    return done


def lines_of(response: httpx.Response) -> Iterator[str]:
    """Return the lines of a stream, divided at line feeds alone; httpx divides at U+2028 too, which JSON may contain."""
    rest = b""
    for part in response.iter_bytes():
        *lines, rest = (rest + part).split(b"\n")
        yield from (line.decode() for line in lines)
    yield rest.decode()


def accepted(response: httpx.Response) -> Any:
    """Return the JSON of an answer that has to be 200."""
    assert response.status_code == 200, f"{response.request.method} {response.request.url}: {response.text}"
    assert response.headers["content-type"] == "application/json"
    return response.json()


def refused(response: httpx.Response, code: int = 400) -> dict[str, Any]:
    """Return the ServiceError of an answer that has to be one, with this code."""
    assert response.status_code == code, f"{response.request.method} {response.request.url}: {response.text}"
    return service_error(response.content, code, response.headers["content-type"])


def service_error(body: bytes, code: int, content_type: str) -> dict[str, Any]:
    """Return the ServiceError that ``body`` is; it must be well-formed, with the code of the answer and a message."""
    assert content_type == "application/json"
    error: dict[str, Any] = json.loads(body)
    assert error["code"] == code
    assert isinstance(error["message"], str)
    assert len(error["message"]) > 10, error
    # A message is for people: one that shows Python's insides, or repeats a megabyte, is none.
    assert len(error["message"]) < 2000
    return error


def raw(port: int, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes as they are over a connection of their own; return status, headers and body of the answer."""
    with connect(port) as sock:
        for part in parts:
            sock.sendall(part)
        return read_answer(sock)


def connect(port: int) -> socket.socket:
    """Return a connection to the service."""
    return socket.create_connection(("127.0.0.1", port), timeout=REQUEST_TIMEOUT)


def read_answer(sock: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one answer that has a Content-Length; the connection need not end after it."""
    stream = sock.makefile("rb")
    with stream:
        status = int(stream.readline().split()[1])
        headers: dict[str, str] = {}
        while line := stream.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, stream.read(int(headers.get("content-length", 0)))
