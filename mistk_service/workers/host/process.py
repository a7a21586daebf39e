"""The service's side of the socket: a worker that can be told things, waited for, and killed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol

from mistk_service.errors import Failure, WorkerDied
from mistk_service.workers.host.output import Output
from mistk_service.workers.host.sending import Sender
from mistk_service.workers.messages import (
    LARGEST_FROM_WORKER,
    FrameReader,
    FromWorker,
    PredictionForgotten,
    ToWorker,
    Undecodable,
    Withdraw,
    decode_from_worker,
)

__all__ = ["ProcessWorker", "ThreadWorker", "Worker", "WorkerListener"]

logger = logging.getLogger(__name__)

#: Seconds to wait, once the process has ended, for what it had said and printed before. A process that the model left behind
#: may hold both open for ever.
_DRAIN = 0.3

#: Seconds that the output gets after that to be emptied, which takes no time unless the machine has none, or whoever reads
#: what the service prints is slow.
_EMPTY = 2.0

#: Seconds that a worker gets to end once it has closed its end of the channel: it has nothing more to say, and threads that
#: the model left behind may hold it for ever.
_LINGER = 1.0


class WorkerListener(Protocol):
    """Who is told what a worker says. Called on the event loop."""

    def on_message(self, worker: Worker, message: FromWorker) -> None:
        """Take a message."""

    def on_exit(self, worker: Worker, failure: Failure) -> None:
        """Take the end of the worker, told or not; ``failure`` says how it ended. The last call for this worker."""


class Worker(ABC):
    """A worker and the channel to it. Lives on one event loop and is used from there only.

    The order of calls is ``start``, any ``send``, and at the end an Exit message or ``kill``, then ``wait_exited``. What is
    sent before ``start`` is the first that the worker is told.

    Args:
        reference: the model; see :mod:`mistk_service.workers.child.loader`.
        listener: who is told what the worker says.
        spool: a folder for the worker to copy the model's artifacts to; None to keep none.
    """

    def __init__(self, reference: str, listener: WorkerListener, *, spool: str | None = None) -> None:
        self.reference = reference
        self._listener = listener
        # Absolute, since a model may change the folder that it works in.
        self._spool = None if spool is None else os.path.abspath(spool)
        self._transport: asyncio.Transport | None = None
        self._sender = Sender()
        self._eof = asyncio.Event()
        #: Why the service has ended the worker, where it was the service that did.
        self._ended_by_service: str | None = None
        self._exited = asyncio.Event()

    async def start(self) -> None:
        """Start the worker. Whether the model can be loaded is told later, by a message.

        Raises:
            WorkerDied: the system refuses a process, a thread or a file. The worker has ended then, as the listener is told.
        """
        try:
            await self._open()
        except (OSError, RuntimeError, MemoryError) as error:  # the second tells of a thread that cannot be started
            failure = Failure("WorkerDied", _not_started(error))
            self._has_exited(failure)
            raise WorkerDied(failure) from error

    async def _open(self) -> None:
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            with contextlib.ExitStack() as undo_theirs:
                undo_theirs.callback(theirs.close)
                # First, so that a worker whose start is cancelled half-way can still be waited for.
                self._launch(theirs, loop)
                undo_theirs.pop_all()
            ours.setblocking(False)
            try:
                self._transport, _ = await loop.create_connection(lambda: _Channel(self), sock=ours)
            except BaseException as error:
                self._ended_by_service = _not_started(error)
                self.kill()
                raise
            undo.pop_all()
            self._sender.connect(self._transport)

    def send(self, message: ToWorker) -> None:
        """Send a message; never blocks. What is sent to a worker that has ended is lost, as its end is told anyway.

        Raises:
            Unsendable: it holds something that cannot cross.
        """
        if isinstance(message, Withdraw) and self._sender.take_back(message.id):
            # It never went, so the worker's answer is known.
            asyncio.get_running_loop().call_soon(self._listener.on_message, self, PredictionForgotten(message.id))
        else:
            self._sender.send(message)

    @property
    def pid(self) -> int | None:
        """The process id, or None for a worker that is no process."""
        return None

    @property
    def exited(self) -> bool:
        """Whether the worker has ended."""
        return self._exited.is_set()

    async def wait_exited(self) -> None:
        """Wait for the end, which the listener has been told of when this returns."""
        await self._exited.wait()

    @abstractmethod
    def kill(self) -> None:
        """End the worker at once, whatever it is doing."""

    @abstractmethod
    def _launch(self, theirs: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        """Start what serves the other end of the socket, which is its own from then on; undo all when that fails."""

    def _channel_ended(self, error: Exception | None = None) -> None:
        """Note that the worker has nothing more to say: it ends now, or it never will.

        Args:
            error: what broke the channel, if something did.
        """
        if self._eof.is_set():
            return
        self._eof.set()
        # An error of the system is the worker's end as seen from here; any other is a fault of ours, over which it ends.
        if error is not None and not isinstance(error, OSError):
            self._ended_by_service = f"The channel to the worker broke ({error!r}), and the worker was ended."
        if not self.exited:
            asyncio.get_running_loop().call_later(_LINGER, self._give_up)

    def _give_up(self) -> None:
        if not self.exited:
            self._ended_by_service = self._ended_by_service or _DEAF
            self.kill()

    def _has_exited(self, failure: Failure) -> None:
        if self._exited.is_set():
            return
        if self._transport is not None:
            # With what was not sent yet: nobody reads it any more, and a thread that was abandoned has to see the end.
            self._transport.abort()
        self._exited.set()
        self._listener.on_exit(self, failure)


class _Channel(asyncio.Protocol):
    """Turns what arrives into messages."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._reader = FrameReader(LARGEST_FROM_WORKER)
        self._garbled = False

    def data_received(self, data: bytes) -> None:
        if self._garbled:
            return
        worker = self._worker
        try:
            for body in self._reader.feed(data):
                worker._listener.on_message(worker, decode_from_worker(body))
        except Undecodable as error:
            # It may have been the answer that somebody waits for, and where the next message begins is not certain.
            self._garbled = True
            worker._ended_by_service = f"The worker sent what is not a message, and was ended: {error}."
            worker.kill()

    def pause_writing(self) -> None:
        self._worker._sender.pause()

    def resume_writing(self) -> None:
        self._worker._sender.resume()

    def eof_received(self) -> bool:
        self._worker._channel_ended()
        # Our side stays open: its end would tell a worker that is just ending that the service is gone.
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._worker._channel_ended(error)


class ProcessWorker(Worker):
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
    ) -> None:
        super().__init__(reference, listener, spool=spool)
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
                _thread(f"mistk-output-{process.pid}", self._copy_output, output, loop)
                undo_output.pop_all()
            _thread(f"mistk-wait-{process.pid}", self._wait_for_end, process, loop)
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
        _tell(loop, self._output_ended.set)

    def _wait_for_end(self, process: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop) -> None:
        """On a thread: wait for the process, which the end of the channel does not tell of while a grandchild holds it."""
        code = process.wait()
        _tell(loop, lambda: loop.create_task(self._after_end(code)))
        _bury_group(process.pid)

    async def _after_end(self, code: int) -> None:
        started_well = not self.exited  # it has a channel and an output
        if started_well:
            await _set_within(_DRAIN, self._eof, self._output_ended)
        # What the model had started in the worker's group and left behind goes too.
        self._cut_lifeline()
        if started_well:
            await _set_within(_EMPTY, self._output_ended)
        message = self._ended_by_service if code == -signal.SIGKILL else None
        lines = self._output.lines if self._output is not None else ()
        self._has_exited(Failure("WorkerDied", message or _describe_exit(code), None, lines))

    def _cut_lifeline(self) -> None:
        """Let the sentinel end what is left of the worker's group, and the output thread end."""
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None


class ThreadWorker(Worker):
    """A worker in a thread of the service, for debugging: breakpoints work, and nothing protects the service.

    A thread cannot be killed: :meth:`kill` abandons it, and it goes on until its next pause point.
    """

    def __init__(self, reference: str, listener: WorkerListener, *, spool: str | None = None) -> None:
        super().__init__(reference, listener, spool=spool)
        self._loop: asyncio.AbstractEventLoop | None = None

    def kill(self) -> None:
        """Abandon the thread."""
        if not self.exited:
            logger.warning("A worker thread cannot be killed; it is left to itself.")
            self._has_exited(Failure("WorkerDied", self._ended_by_service or _ABANDONED))

    def _launch(self, theirs: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        _thread("mistk-worker", self._serve, theirs, loop)

    def _serve(self, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        # Late: it brings the loader and the model's base class, which only this kind of worker needs in the service.
        from mistk_service.workers.child.main import serve_model

        failure = Failure("WorkerDied", "The worker thread ended.")
        try:
            serve_model(sock, self.reference, lambda: None, self._spool)
        except BaseException as error:  # noqa: BLE001 - SystemExit too: a model that exits ends its worker
            text = "".join(traceback.format_exception(error))
            failure = Failure("WorkerDied", f"The worker thread ended with {type(error).__name__}: {error}", text)
        finally:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
        _tell(loop, lambda: self.exited or loop.create_task(self._after_end(failure)))

    async def _after_end(self, failure: Failure) -> None:
        await _set_within(_DRAIN, self._eof)
        self._has_exited(failure)


def _thread(name: str, target: object, *args: object) -> None:
    threading.Thread(target=target, args=args, name=name, daemon=True).start()  # type: ignore[arg-type]


async def _set_within(seconds: float, *events: asyncio.Event) -> None:
    """Wait for all of the events, for so long at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            for event in events:
                await event.wait()


def _tell(loop: asyncio.AbstractEventLoop, callback: object) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is interested any more
        loop.call_soon_threadsafe(callback)  # type: ignore[arg-type]


_DEAF = "The worker process ended its side of the channel, did not end itself, and was killed."
_KILLED = "The worker process was killed by the service (SIGKILL)."
_ABANDONED = "The worker thread did not end in time and was abandoned."


def _not_started(error: BaseException) -> str:
    return f"The worker could not be started: {str(error) or type(error).__name__}"


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
