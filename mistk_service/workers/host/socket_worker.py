"""The service's side of a socket pair, whose other end a worker of this machine holds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import threading
from abc import ABC, abstractmethod

from mistk_service.errors import Failure, WorkerDied
from mistk_service.workers.host.files import LocalFiles
from mistk_service.workers.host.sending import Sender
from mistk_service.workers.messages import (
    LARGEST_FROM_WORKER,
    FrameReader,
    PredictionForgotten,
    ToWorker,
    Undecodable,
    Withdraw,
    decode_from_worker,
)
from mistk_service.workers.protocol import Files, WorkerListener

__all__ = ["DRAIN", "LINGER", "SocketWorker", "call_on", "set_within", "start_thread"]

logger = logging.getLogger(__name__)

#: Seconds to wait, once the process has ended, for what it had said and printed before. A process that the model left behind
#: may hold both open for ever.
DRAIN = 0.3

#: Seconds that a worker gets to end once it has closed its end of the channel: it has nothing more to say, and threads that
#: the model left behind may hold it for ever.
LINGER = 1.0

_DEAF = "The worker process ended its side of the channel, did not end itself, and was killed."


class SocketWorker(ABC):
    """A worker of this machine, at the other end of a socket pair; see :class:`~mistk_service.workers.protocol.Worker`.

    Args:
        reference: the model; see :mod:`mistk_service.workers.child.loader`.
        listener: who is told what the worker says.
        linger: seconds that the worker has for its end once it has closed its side of the channel.
        spool: a folder for the worker to copy the model's artifacts to; None to keep none.
    """

    def __init__(
        self, reference: str, listener: WorkerListener, *, spool: str | None = None, linger: float = LINGER
    ) -> None:
        self.reference = reference
        self.files: Files = LocalFiles()
        self._listener = listener
        self._linger = linger
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
    def congested(self) -> bool:
        """Whether the channel accepts nothing more for the moment, so that what is sent waits here."""
        return self._sender.paused

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
            asyncio.get_running_loop().call_later(self._linger, self._give_up)

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

    def __init__(self, worker: SocketWorker) -> None:
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


def start_thread(name: str, target: object, *args: object) -> None:
    """Start a daemon thread."""
    threading.Thread(target=target, args=args, name=name, daemon=True).start()  # type: ignore[arg-type]


async def set_within(seconds: float, *events: asyncio.Event) -> None:
    """Wait for all of the events, for so long at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            for event in events:
                await event.wait()


def call_on(loop: asyncio.AbstractEventLoop, callback: object) -> None:
    """Call a function on an event loop, unless the loop is closed."""
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is interested any more
        loop.call_soon_threadsafe(callback)  # type: ignore[arg-type]


def _not_started(error: BaseException) -> str:
    return f"The worker could not be started: {str(error) or type(error).__name__}"
