"""A worker in its own process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping

from mistk_service.errors import Failure
from mistk_service.workers.host.output import Output
from mistk_service.workers.host.socket_worker import (
    DRAIN,
    LINGER,
    LocalWorker,
    call_on,
    resolve,
    set_within,
    start_thread,
)
from mistk_service.workers.protocol import WorkerListener

logger = logging.getLogger(__name__)

#: Seconds to empty the pipe of the output after that. Emptying it only takes long if the machine is overloaded or the reader
#: of the service's output is slow.
_EMPTY = 2.0

_KILLED = "The worker process was killed by the service (SIGKILL)."


class ProcessWorker(LocalWorker):
    """A worker in its own process and session, which ends together with the service.

    Args:
        log_level: the worker's log level, one of :data:`mistk_service.logs.LogLevel`.
        log_format: the format of its log and of the model's output.
        log_libraries: whether the level also applies to third-party libraries.
        environment: its environment variables; by default those of the service.
        umask: its umask; by default that of the service.
        on_output: receives each line of its output, on another thread.
        popen: starts the process, with the arguments of :class:`subprocess.Popen`, which is the default.
    """

    def __init__(
        self,
        reference: str,
        listener: WorkerListener,
        *,
        log_level: str = "INFO",
        log_format: str = "text",
        log_libraries: bool = False,
        spool: str | None = None,
        environment: Mapping[str, str] | None = None,
        umask: int = -1,
        on_output: Callable[[str], None] = lambda _: None,
        linger: float = LINGER,
        mistk_names: bool = True,
        popen: Callable[..., subprocess.Popen[bytes]] | None = None,
    ) -> None:
        super().__init__(reference, listener, spool=spool, linger=linger, mistk_names=mistk_names)
        self._environment, self._umask = environment, umask
        self._on_output = on_output
        self._popen = popen
        self._log_format = log_format
        self._log_options = ["--log-level", log_level, "--log-format", log_format]
        if log_libraries:
            self._log_options.append("--log-libraries")
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None
        self._output: Output | None = None
        self._output_ended = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The process id."""
        return self._process.pid if self._process else None

    def kill(self) -> None:
        """Kill the process and those that it started."""
        if self._process is not None and not self.exited:
            self._ended_by_service = self._ended_by_service or _KILLED
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _launch(self, theirs: socket.socket, ended: asyncio.Future[int]) -> None:
        with contextlib.ExitStack() as undo:
            lifeline_reader, self._lifeline = os.pipe()
            undo.callback(self._cut_lifeline)
            with contextlib.ExitStack() as undo_reader:
                undo_reader.callback(os.close, lifeline_reader)
                process = self._process = self._spawn(theirs, lifeline_reader)
                undo.callback(_end_at_once, process)
                undo_reader.pop_all()
            assert process.stdout is not None
            as_json = self._log_format == "json"
            output = self._output = Output(process.stdout, lifeline_reader, as_json=as_json, on_line=self._on_output)
            with contextlib.ExitStack() as undo_output:
                undo_output.callback(output.close)
                start_thread(f"mistk-output-{process.pid}", self._copy_output, output, ended.get_loop())
                undo_output.pop_all()
            start_thread(f"mistk-wait-{process.pid}", self._wait_for_end, process, ended)
            undo.pop_all()
        theirs.close()

    def _spawn(self, theirs: socket.socket, lifeline: int) -> subprocess.Popen[bytes]:
        start = self._popen or subprocess.Popen
        return start(
            [sys.executable, *self._arguments(theirs.fileno(), lifeline)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(theirs.fileno(), lifeline),
            start_new_session=True,
            env=self._environment,
            umask=self._umask,
        )

    def _arguments(self, channel: int, lifeline: int) -> list[str]:
        return [
            *("-u", "-m", "mistk_service.workers.child.main"),
            *("--socket", str(channel), "--lifeline", str(lifeline)),
            *self._log_options,
            *(() if self._spool is None else ("--spool", self._spool)),
            *(() if self._mistk_names else ("--no-mistk-names",)),
            *("--", self._reference),
        ]

    def _copy_output(self, output: Output, loop: asyncio.AbstractEventLoop) -> None:
        """Copy the worker's output. Runs on a thread."""
        output.copy()
        call_on(loop, self._output_ended.set)

    def _wait_for_end(self, process: subprocess.Popen[bytes], ended: asyncio.Future[int]) -> None:
        """Wait for the process. Runs on a thread, since the channel does not end while a grandchild holds it open."""
        resolve(ended, process.wait())
        _reap_group(process.pid)

    async def _after_end(self, ended: asyncio.Future[int]) -> None:
        code = await ended
        started_well = not self.exited  # it has a channel and an output
        if started_well:
            await set_within(DRAIN, self._eof, self._output_ended)
        # This also ends processes that the model started in the worker's group and left behind.
        self._cut_lifeline()
        if started_well:
            await set_within(_EMPTY, self._output_ended)
        message = self._ended_by_service if code == -signal.SIGKILL else None
        lines = self._output.lines if self._output is not None else ()
        self._has_exited(Failure("WorkerDied", message or describe_exit(code), None, lines))

    def _cut_lifeline(self) -> None:
        """Let the sentinel end what is left of the worker's group, and let the output thread end."""
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None


def _end_at_once(process: subprocess.Popen[bytes]) -> None:
    """Kill a process whose start is being undone."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _reap_group(group: int) -> None:
    """Reap the processes that a worker leaves behind. Runs on a thread.

    They become children of the service if it is PID 1 of a container. Each worker would then leave defunct processes: its
    sentinel, and those that the model started. Elsewhere they are not children of the service, and this returns at once.
    """
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-group, 0)


def describe_exit(code: int) -> str:
    """Describe how a process ended; negative codes are signals."""
    if code >= 0:
        return f"The worker process ended with exit code {code}."
    number = -code
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "unknown"
    meaning = signal.strsignal(number) or ""
    hint = " This is often due to a lack of memory." if number == signal.SIGKILL else ""
    return f"The worker process was ended by signal {number} ({name}: {meaning.lower()}).{hint}"
