"""Starts Python programs for a third of the processor time or less: a process that has loaded what they import forks for each.

What is forked is the program from its first line to the end of the interpreter; only the imports are done, and a store has
been opened once. One process has loaded all of ``mistk-service``, another one what a worker loads, and a third one MLflow with
its server.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Self, TextIO

ROOT = Path(__file__).parents[2]
#: For MLflow: no telemetry, no progress bars; where its own database is locked by its own requests the client tries again.
CALM = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5",
    # Its jobs are four more processes.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    # What a model needs would be found out by one more process, which loads it.
    "MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT": "0",
    "GIT_PYTHON_REFRESH": "quiet",
    "TQDM_DISABLE": "1",
}


class Forked:
    """A process with those attributes and methods of :class:`subprocess.Popen` that tests use.

    Attributes:
        returncode: its exit code, or None while it runs.
        stdout: its output, where a caller who has given it a pipe puts that.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.returncode: int | None = None
        self.stdout: IO[bytes] | None = None
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


class Piped:
    """A forked process whose standard input and output are pipes, and which is killed at the end of a ``with``.

    Attributes:
        process: the process.
        stdin: its input.
        stdout: its output.
    """

    def __init__(self, start: Callable[[int, int, int], Forked]) -> None:
        self._errors: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 - it is needed until the end
        stdin, to_it = os.pipe()
        from_it, stdout = os.pipe()
        try:
            self.process = start(stdin, stdout, self._errors.fileno())
        finally:
            os.close(stdin)
            os.close(stdout)
        self.stdin: TextIO = open(to_it, "w")  # noqa: SIM115
        self.stdout: TextIO = open(from_it)  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.communicate()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self.process.returncode

    def communicate(self, timeout: float = 150) -> tuple[str, str]:
        """End its input, wait for its end, and return what it has written that was not read, and its error output."""
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
        output = "" if self.stdout.closed else self.stdout.read()
        self.stdout.close()
        self.process.wait(timeout)
        if self._errors.closed:
            return output, ""
        with self._errors:
            self._errors.seek(0)
            return output, self._errors.read()


class Starter:
    """The process that forks.

    Args:
        env: its environment; what it forks has one of its own.
        loaded: what it loads, see :data:`LOADED`.

    Attributes:
        requests: what it listens to.
    """

    def __init__(self, env: Mapping[str, str], loaded: str = "service") -> None:
        self.requests, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, loaded],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=dict(env),
                cwd=ROOT,
            )

    def start(
        self,
        *arguments: str,
        cwd: Path,
        env: Mapping[str, str],
        stdout: int,
        stderr: int,
        stdin: int | None = None,
        pass_fds: Sequence[int] = (),
        start_new_session: bool = False,
    ) -> Forked:
        """Start a program.

        Args:
            arguments: what follows ``python`` on the command line: ``-m``, ``-c`` or a file, and the program's arguments.
            cwd: the working directory.
            env: the environment; variables that the interpreter reads at its start, such as PYTHONPATH, have no effect.
            stdout: the file descriptor of the standard output.
            stderr: the same of the error output.
            stdin: the same of the input, which is empty unless given.
            pass_fds: further file descriptors, which keep their numbers.
            start_new_session: whether the program leads a session of its own.
        """
        connection, theirs = socket.socketpair()
        with theirs, open(os.devnull) as nothing:
            descriptors = [nothing.fileno() if stdin is None else stdin, stdout, stderr, theirs.fileno()]
            socket.send_fds(self.requests, [b"\n"], [*descriptors, *pass_fds])
        request = [arguments, str(cwd), dict(env), start_new_session, pass_fds]
        connection.sendall(json.dumps(request).encode() + b"\n")
        return Forked(connection)

    def close(self) -> None:
        """End it. What it has forked goes on."""
        self.requests.close()
        self._process.wait()


def starter(loaded: str = "service", *, measured: bool = True) -> Starter:
    """Return the starter that the tests of this process share; see :class:`Starter` and :func:`clean_environment`.

    Where nothing is measured, what is not to be measured is started by the same one.
    """
    return _shared(loaded, measured or clean_environment() == clean_environment(measured=False))


@functools.cache
def _shared(loaded: str, measured: bool) -> Starter:
    started = Starter(clean_environment(measured=measured) | (CALM if loaded == "mlflow" else {}), loaded)
    atexit.register(started.close)
    return started


def python(*arguments: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None, loaded: str = "service") -> Piped:
    """Start a Python program that imports what a starter has loaded; see :meth:`Starter.start`."""
    environment = os.environ if env is None else env
    prepared = starter(loaded)
    return Piped(
        lambda stdin, stdout, stderr: prepared.start(
            *arguments, cwd=cwd, env=environment, stdin=stdin, stdout=stdout, stderr=stderr
        )
    )


def run_python(*arguments: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None, loaded: str = "service") -> str:
    """Run a Python program to its end, which has to be a good one, and return its output; see :func:`python`."""
    program = python(*arguments, cwd=cwd, env=env, loaded=loaded)
    output, errors = program.communicate()
    assert program.returncode == 0, errors
    return output


def clean_environment(*, measured: bool = True) -> dict[str, str]:
    """Return the environment without settings of the service.

    What ends while its threads are at work is not to be measured: coverage.py, which saves its data then, crashes such a
    process now and then.
    """
    left_out = ("MISTK_", "MLFLOW_") if measured else ("MISTK_", "MLFLOW_", "COVERAGE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)}


def _load_service() -> None:
    """Load all that a service would load, also what it would load on a thread after it listens."""
    import mistk_service.app.asgi
    import mistk_service.app.autostart
    import mistk_service.app.cli
    import mistk_service.app.container
    import mistk_service.tracking.cli.commands
    import mistk_service.tracking.replication
    import mistk_service.tracking.rest
    import mistk_service.tracking.server.app
    import mistk_service.tracking.sql
    from mistk_service.resources import contract_path, load_contract

    with contextlib.suppress(ImportError):
        importlib.import_module("uvloop")
    for contract in contract_path().parent.glob("*.yaml"):
        load_contract(contract.name)
    # What creates and reads a store is compiled at the first one.
    mistk_service.tracking.open_store("sqlite://").close()


def _load_mlflow() -> None:
    """Load MLflow's client and its server, and what they load at their first use."""
    # MLflow does without it. At its end a process waits for a thread of polars, which is not forked.
    sys.modules["polars"] = None  # type: ignore[assignment]
    import mlflow.pyfunc
    import mlflow.server.fastapi_app
    import mlflow.server.handlers
    import mlflow.sklearn
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    import pandas  # noqa: F401
    import sklearn.linear_model  # noqa: F401
    import uvicorn  # noqa: F401

    del sys.modules["polars"]


def _load_worker() -> None:
    """Load what every worker loads, and nothing else."""
    import mistk_service.workers.child.main  # noqa: F401


#: What a starter can load.
LOADED = {"service": _load_service, "worker": _load_worker, "mlflow": _load_mlflow}


def _follow() -> tuple[socket.socket, list[int]] | None:
    """Fork for each request. Returns the connection of the request and what it passes in each child, and None at the end.

    A request is a message with file descriptors: those of the input and the outputs, which become the child's, a connection,
    and those that are passed. The connection brings a line of JSON with what to start, and takes the child's process id and
    its exit code, a line each.
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
                _reap(children)
            if requests.fileno() not in ready:
                continue
            _, descriptors, _, _ = socket.recv_fds(requests, 1, 6)
            if not descriptors:
                return None
            streams, number, passed = descriptors[:3], descriptors[3], descriptors[4:]
            connection = socket.socket(fileno=number)
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                requests.close()
                for standard, each in enumerate(streams):
                    os.dup2(each, standard)
                for each in (woken, wake, *streams):
                    os.close(each)
                for other in children.values():
                    other.close()
                return connection, passed
            children[pid] = connection
            for each in (*streams, *passed):
                os.close(each)


def _reap(children: dict[int, socket.socket]) -> None:
    """Tell the exit codes of the children that have ended."""
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with children.pop(pid) as connection, contextlib.suppress(OSError):  # whoever started it may have gone
                connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))


def _become(connection: socket.socket, passed: list[int]) -> None:
    """Be ``python`` with the arguments that the connection brings."""
    with connection, connection.makefile() as lines:
        (how, *arguments), folder, env, new_session, numbers = json.loads(lines.readline())
        if new_session:
            os.setsid()
        connection.sendall(b"%d\n" % os.getpid())
    _renumber(passed, numbers)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.path[0] = folder if how.startswith("-") else str(Path(how).parent)
    if [how, *arguments[:1]] == ["-m", "mistk_service"]:
        from mistk_service.app.cli import run_as_module

        sys.argv = [str(ROOT / "mistk_service" / "__main__.py"), *arguments[1:]]
        run_as_module()
    elif [how, *arguments[:2]] == ["-u", "-m", "mistk_service.workers.child.main"]:
        from mistk_service.workers.child import main

        sys.modules["__main__"] = main
        sys.argv = [main.__file__, *arguments[2:]]
        sys.stdout = io.TextIOWrapper(open(1, "wb", 0, closefd=False), write_through=True)  # noqa: SIM115
        main.main()
    elif how == "-m":
        sys.argv = arguments
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    elif how == "-c":
        sys.argv = ["-c", *arguments[1:]]
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(arguments[0], vars(main))
    else:
        sys.argv = [how, *arguments]
        runpy.run_path(how, run_name="__main__")


def _renumber(passed: list[int], numbers: list[int]) -> None:
    """Give file descriptors the numbers that they had where they come from."""
    beyond = max(numbers, default=0) + 1  # so that none takes a number which another one is to get
    moved = [fcntl.fcntl(each, fcntl.F_DUPFD, beyond) for each in passed]
    for each in passed:
        os.close(each)
    for each, number in zip(moved, numbers, strict=True):
        os.dup2(each, number)
        os.close(each)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as the service does
        LOADED[sys.argv[1]]()
    gc.freeze()  # what is loaded is not touched by collections, so that the children share its memory
    if (mine := _follow()) is not None:
        _become(*mine)
