"""Starts ``mistk-service`` for a third of the processor time: a process that has loaded all of it forks for each.

What is forked is ``python -m mistk_service`` from its first line to the end of the interpreter; only the imports are done.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Forked:
    """A process with those attributes and methods of :class:`subprocess.Popen` that tests use."""

    def __init__(self, connection: socket.socket) -> None:
        self.returncode: int | None = None
        self._lines = connection.makefile("rb")
        connection.close()
        self.pid = int(self._lines.readline())
        self._ended = threading.Event()
        threading.Thread(target=self._follow, daemon=True).start()

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended, and return the exit code."""
        self._ended.wait(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("mistk-service", timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def _follow(self) -> None:
        with self._lines:
            self.returncode = int(self._lines.readline())
        self._ended.set()


class Starter:
    """The process that forks.

    Args:
        env: its environment; what it forks has one of its own.

    Attributes:
        requests: what it listens to.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self.requests, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=dict(env),
                cwd=ROOT,
            )

    def start(self, *arguments: str, cwd: Path, env: Mapping[str, str], stdout: int, stderr: int) -> Forked:
        """Start ``python -m mistk_service``.

        Args:
            arguments: what follows on the command line.
            cwd: the working directory.
            env: the environment; variables that the interpreter reads at its start, such as PYTHONPATH, have no effect.
            stdout: the file descriptor of the standard output.
            stderr: the same of the error output.
        """
        connection, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self.requests, [b"\n"], [stdout, stderr, theirs.fileno()])
        connection.sendall(json.dumps([arguments, str(cwd), dict(env)]).encode() + b"\n")
        return Forked(connection)

    def close(self) -> None:
        """End it. What it has forked goes on."""
        self.requests.close()
        self._process.wait()


@functools.cache
def starter(*, measured: bool = True) -> Starter:
    """Return the starter that the tests of this process share; see :func:`clean_environment`."""
    shared = Starter(clean_environment(measured=measured))
    atexit.register(shared.close)
    return shared


def clean_environment(*, measured: bool = True) -> dict[str, str]:
    """Return the environment without settings of the service.

    What ends while its threads are at work is not to be measured: coverage.py, which saves its data then, crashes such a
    process now and then.
    """
    left_out = ("MISTK_", "MLFLOW_") if measured else ("MISTK_", "MLFLOW_", "COVERAGE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)}


def _load() -> None:
    """Load all that a service would load, also what it would load on a thread after it listens."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as the service does
        import mistk_service.app.asgi
        import mistk_service.app.cli
        import mistk_service.app.container
        import mistk_service.tracking.cli.commands
        import mistk_service.tracking.replication
        import mistk_service.tracking.rest
        import mistk_service.tracking.server.app
        import mistk_service.tracking.sql  # noqa: F401


def _follow() -> socket.socket | None:
    """Fork for each request. Returns the connection of the request in each child, and None where there are no more.

    A request is a message with three file descriptors: those of the outputs, which become the child's, and a connection. It
    brings a line of JSON with what to start, and takes the child's process id and its exit code, a line each.
    """
    children: dict[int, socket.socket] = {}
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with socket.socket(fileno=0) as requests:
        while True:
            ready, _, _ = select.select([requests.fileno(), woken], [], [])
            if woken in ready:
                os.read(woken, 4096)
                _bury(children)
            if requests.fileno() not in ready:
                continue
            _, descriptors, _, _ = socket.recv_fds(requests, 1, 3)
            if not descriptors:
                return None
            stdout, stderr, number = descriptors
            connection = socket.socket(fileno=number)
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.dup2(stdout, 1)
                os.dup2(stderr, 2)
                for each in (woken, wake, stdout, stderr):
                    os.close(each)
                for other in children.values():
                    other.close()
                return connection
            children[pid] = connection
            connection.sendall(b"%d\n" % pid)
            os.close(stdout)
            os.close(stderr)


def _bury(children: dict[int, socket.socket]) -> None:
    """Tell the exit codes of the children that have ended."""
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with children.pop(pid) as connection, contextlib.suppress(OSError):  # whoever started it may have gone
                connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))


def _become(connection: socket.socket) -> None:
    """Be ``python -m mistk_service``."""
    from mistk_service.app.cli import run_as_module

    with connection, connection.makefile() as lines:
        arguments, folder, env = json.loads(lines.readline())
    os.open(os.devnull, os.O_RDONLY)  # 0, which was closed with the requests
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.path[0] = folder
    sys.argv = [str(ROOT / "mistk_service" / "__main__.py"), *arguments]
    run_as_module()


if __name__ == "__main__":
    _load()
    gc.freeze()  # what is loaded is not touched by collections, so that the children share its memory
    if (mine := _follow()) is not None:
        _become(mine)
