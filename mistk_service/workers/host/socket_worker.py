"""The service's side of a socket pair to a worker on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import threading
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

from mistk_service.errors import Failure, WorkerDied
from mistk_service.workers.framing import LARGEST_FROM_WORKER, FrameReader, Undecodable, decode_from_worker
from mistk_service.workers.host.files import LocalFiles
from mistk_service.workers.host.sending import Sender
from mistk_service.workers.messages import PredictionForgotten, ToWorker, Withdraw
from mistk_service.workers.protocol import Files, Worker, WorkerListener

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Seconds to wait, after the process has ended, for its last messages and output. A process that the model left behind may
#: hold both open for ever.
DRAIN = 0.3

#: Maximum seconds until a worker exits after it has closed its end of the channel. It cannot send anything more, and threads
#: that the model left behind may keep it alive for ever.
LINGER = 1.0

_DID_NOT_END = "The worker process closed its side of the channel, did not end itself, and was killed."


class SocketWorker(Worker):
    """A worker at the other end of a socket.

    Args:
        reference: the reference to the model, in a form that :mod:`mistk_service.workers.child.loader` accepts.
        listener: receives the worker's messages and its end.
        linger: maximum seconds until the worker exits after it has closed its end of the channel.
        spool: a folder for the worker's copies of artifacts; None to make no copies.
        mistk_names: whether to offer MISTK's names to the model if MISTK is not installed.
    """

    def __init__(
        self,
        reference: str,
        listener: WorkerListener,
        *,
        spool: str | None = None,
        linger: float = LINGER,
        mistk_names: bool = True,
    ) -> None:
        self._reference = reference
        self.files: Files = LocalFiles()
        self._listener = listener
        self._linger = linger
        self._mistk_names = mistk_names
        # Absolute, since a model may change the working directory.
        self._spool = None if spool is None else os.path.abspath(spool)
        self._transport: asyncio.Transport | None = None
        self._sender = Sender()
        self._eof = asyncio.Event()
        #: Why the service killed the worker, if it did.
        self._ended_by_service: str | None = None
        self._exited = asyncio.Event()

    async def start(self) -> None:
        try:
            await self._open()
        except (OSError, RuntimeError, MemoryError) as error:  # RuntimeError: a thread cannot be started
            failure = Failure("WorkerDied", _not_started(error))
            self._has_exited(failure)
            raise WorkerDied(failure) from error

    @abstractmethod
    async def _open(self) -> None:
        """Start the other side, and connect to it now or later. Undo everything if that fails."""

    def _channel(self) -> asyncio.Protocol:
        """Return the protocol of the transport to the worker."""
        return _Channel(self)

    def _connect(self, transport: asyncio.Transport) -> None:
        """Use the transport to the worker."""
        self._transport = transport
        self._sender.connect(transport)

    def send(self, message: ToWorker) -> None:
        if isinstance(message, Withdraw) and self._sender.take_back(message.id):
            # It was never sent, so the worker's answer is known.
            asyncio.get_running_loop().call_soon(self._listener.on_message, self, PredictionForgotten(message.id))
        else:
            self._sender.send(message)

    @property
    def congested(self) -> bool:
        """Whether the channel is blocked, so that messages are queued here."""
        return self._sender.paused

    @property
    def pid(self) -> int | None:
        return None

    @property
    def exited(self) -> bool:
        return self._exited.is_set()

    async def wait_exited(self) -> None:
        await self._exited.wait()

    def _channel_ended(self, error: Exception | None = None) -> None:
        """Record that the worker's channel has ended. The worker ends now, or is killed after ``linger`` seconds.

        Args:
            error: the error that broke the channel, if any.
        """
        if self._eof.is_set():
            return
        self._eof.set()
        # An OSError means that the worker ended. Any other error is a bug of the service, which ends the worker.
        if error is not None and not isinstance(error, OSError):
            self._ended_by_service = f"The channel to the worker broke ({error!r}), and the worker was killed."
        if not self.exited:
            asyncio.get_running_loop().call_later(self._linger, self._give_up)

    def _give_up(self) -> None:
        if not self.exited:
            self._ended_by_service = self._ended_by_service or _DID_NOT_END
            self.kill()

    def _has_exited(self, failure: Failure) -> None:
        if self._exited.is_set():
            return
        if self._transport is not None:
            # Unsent data is discarded: there is no reader any more, and an abandoned thread has to see the end of the stream.
            self._transport.abort()
        self._exited.set()
        self._listener.on_exit(self, failure)


class LocalWorker(SocketWorker):
    """A worker on this machine, connected by a socket pair. Subclasses start a process or a thread."""

    #: The task that waits for its exit.
    _after: asyncio.Task[None]

    async def _open(self) -> None:
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            with contextlib.ExitStack() as undo_theirs:
                undo_theirs.callback(theirs.close)
                # First, so that it is possible to wait for a worker whose start is cancelled half-way.
                self._begin(theirs)
                undo_theirs.pop_all()
            ours.setblocking(False)
            try:
                transport, _ = await loop.create_connection(self._channel, sock=ours)
            except BaseException as error:  # also if the start is cancelled
                self._ended_by_service = _not_started(error)
                self.kill()
                raise
            undo.pop_all()
            self._connect(transport)

    def _begin(self, theirs: socket.socket) -> None:
        """Start the other side, give it its end of the socket, and handle its end."""
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        self._launch(theirs, ended)
        # The task exists from the start, so that an event loop that is being closed cancels it.
        self._after = loop.create_task(self._after_end(ended))

    @abstractmethod
    def _launch(self, theirs: socket.socket, ended: asyncio.Future[Any]) -> None:
        """Start the other side and give it its end of the socket. Undo everything if that fails.

        Args:
            theirs: the other side's end of the socket.
            ended: is resolved when the other side ends, with how it ended.
        """

    @abstractmethod
    async def _after_end(self, ended: asyncio.Future[Any]) -> None:
        """Wait for the other side to end, and for its last messages; then call :meth:`_has_exited`."""


class _Channel(asyncio.Protocol):
    """Decodes the incoming bytes into messages."""

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
            # This may have been an answer that a caller waits for, and the beginning of the next message is unknown.
            self._garbled = True
            worker._ended_by_service = f"The worker sent an invalid message and was killed: {error}."
            worker.kill()

    def pause_writing(self) -> None:
        self._worker._sender.pause()

    def resume_writing(self) -> None:
        self._worker._sender.resume()

    def eof_received(self) -> bool:
        self._worker._channel_ended()
        # Keep our side open. Its end would look to an ending worker as if the service were gone.
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._worker._channel_ended(error)


def start_thread(name: str, target: Callable[..., None], *args: object) -> None:
    """Start a daemon thread."""
    threading.Thread(target=target, args=args, name=name, daemon=True).start()


async def set_within(seconds: float, *events: asyncio.Event) -> None:
    """Wait for all of the events, for at most this many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            for event in events:
                await event.wait()


def call_on(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    """Call a function on an event loop, unless the loop is closed."""
    with contextlib.suppress(RuntimeError):  # the loop is closed: there is no caller any more
        loop.call_soon_threadsafe(callback)


def resolve(future: asyncio.Future[_T], result: _T) -> None:
    """Set the result of a future from a thread, unless the future is cancelled or its event loop is closed."""

    def set_result() -> None:
        if not future.done():
            future.set_result(result)

    call_on(future.get_loop(), set_result)


def _not_started(error: BaseException) -> str:
    return f"The worker could not be started: {str(error) or type(error).__name__}"
