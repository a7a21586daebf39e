"""A worker in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping

from mistk_service.errors import Failure
from mistk_service.workers.host.output import Output
from mistk_service.workers.host.socket_worker import DRAIN, LINGER, SocketWorker, call_on, set_within, start_thread
from mistk_service.workers.protocol import WorkerListener

__all__ = ["ProcessWorker"]

logger = logging.getLogger(__name__)

#: Seconds that the output gets after that to be emptied, which takes no time unless the machine has none, or whoever reads
#: what the service prints is slow.
_EMPTY = 2.0

_KILLED = "The worker process was killed by the service (SIGKILL)."


class ProcessWorker(SocketWorker):
    """A worker in a process of its own, in a session of its own, which ends together with the service.

    Args:
        log_level: of the worker; see :func:`mistk_service.logs.configure_logging`.
        log_format: of its log, and of what the model prints.
        log_libraries: whether the level is for the libraries in use too.
        environment: its variables; those of the service unless given.
        umask: its umask; that of the service unless given.
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
        linger: float = LINGER,
    ) -> None:
        super().__init__(reference, listener, spool=spool, linger=linger)
        self._environment, self._umask = environment, umask
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
        """Kill the process and what it started."""
        if self._process is not None and not self.exited:
            self._ended_by_service = self._ended_by_service or _KILLED
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _launch(self, theirs: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.ExitStack() as undo:
            lifeline_reader, self._lifeline = os.pipe()
            undo.callback(self._cut_lifeline)
            with contextlib.ExitStack() as undo_reader:
                undo_reader.callback(os.close, lifeline_reader)
                process = self._process = self._spawn(theirs, lifeline_reader)
                undo.callback(_end_at_once, process)
                undo_reader.pop_all()
            assert process.stdout is not None
            output = self._output = Output(process.stdout, lifeline_reader, as_json=self._log_format == "json")
            with contextlib.ExitStack() as undo_output:
                undo_output.callback(output.close)
                start_thread(f"mistk-output-{process.pid}", self._copy_output, output, loop)
                undo_output.pop_all()
            start_thread(f"mistk-wait-{process.pid}", self._wait_for_end, process, loop)
            undo.pop_all()
        theirs.close()

    def _spawn(self, theirs: socket.socket, lifeline: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                *(sys.executable, "-u", "-m", "mistk_service.workers.child.main"),
                *("--socket", str(theirs.fileno()), "--lifeline", str(lifeline)),
                *self._log_options,
                *(() if self._spool is None else ("--spool", self._spool)),
                *("--", self.reference),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(theirs.fileno(), lifeline),
            start_new_session=True,
            env=self._environment,
            umask=self._umask,
        )

    def _copy_output(self, output: Output, loop: asyncio.AbstractEventLoop) -> None:
        """On a thread: pass on what the worker prints."""
        output.copy()
        call_on(loop, self._output_ended.set)

    def _wait_for_end(self, process: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop) -> None:
        """On a thread: wait for the process, which the end of the channel does not tell of while a grandchild holds it."""
        code = process.wait()
        call_on(loop, lambda: loop.create_task(self._after_end(code)))
        _bury_group(process.pid)

    async def _after_end(self, code: int) -> None:
        started_well = not self.exited  # it has a channel and an output
        if started_well:
            await set_within(DRAIN, self._eof, self._output_ended)
        # What the model had started in the worker's group and left behind goes too.
        self._cut_lifeline()
        if started_well:
            await set_within(_EMPTY, self._output_ended)
        message = self._ended_by_service if code == -signal.SIGKILL else None
        lines = self._output.lines if self._output is not None else ()
        self._has_exited(Failure("WorkerDied", message or _describe_exit(code), None, lines))

    def _cut_lifeline(self) -> None:
        """Let the sentinel end what is left of the worker's group, and the output thread end."""
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None


def _end_at_once(process: subprocess.Popen[bytes]) -> None:
    """End a process whose start is undone."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _bury_group(group: int) -> None:
    """On a thread: where orphans come to us, as they do to the first process of a container, wait for those of a worker.

    Without that each worker would leave a zombie, its sentinel, and one for each process that the model had started. Anywhere
    else none of the group is a child of ours, and this returns at once.
    """
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-group, 0)


def _describe_exit(code: int) -> str:
    """Return in words how a process ended; negative codes are signals."""
    if code >= 0:
        return f"The worker process ended with exit code {code}."
    number = -code
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "unknown"
    meaning = signal.strsignal(number) or ""
    hint = " Often that is the system's answer to a lack of memory." if number == signal.SIGKILL else ""
    return f"The worker process was ended by signal {number} ({name}: {meaning.lower()}).{hint}"
