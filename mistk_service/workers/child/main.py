"""The worker's side of the socket: the main thread loads and runs the model, a control thread reads the socket.

Run as a program, this module is the worker process. :func:`serve_model` does the same in a thread. A model shares its process
only with this module and its imports.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import logging
import math
import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import NoReturn

from mistk_service.errors import Failure, ModelLoadError
from mistk_service.logs import configure_logging, encodable
from mistk_service.workers.child.loader import construct_model, load_model_class
from mistk_service.workers.child.runner import Runner
from mistk_service.workers.framing import LARGEST_FROM_WORKER, FrameReader, Unsendable, decode_to_worker, frame
from mistk_service.workers.messages import Exit, Failed, FromWorker, LoadFailed, Predicted, PredictionFailed

logger = logging.getLogger(__name__)

#: Bytes read from the socket at once.
_CHUNK = 256 * 1024

#: Kills every process of the worker's group as soon as the service is gone, for whatever reason. It reads a pipe that the
#: service holds open and never writes to. One of our threads could not do it while the model runs C code that holds the GIL. A
#: death signal of the kernel would reach only the worker and not the processes that the model started. The shell belongs to
#: the group itself, so the number of the group cannot be reused in the meantime. The shell is not a child of the worker, so a
#: model that waits for all its children does not wait for it.
_SENTINEL = ("/bin/sh", "-c", "exec 3<&0; (read -r _ <&3; kill -s KILL 0) &")


class _Channel:
    """The socket to the service. Several threads may send."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._worker = os.getpid()
        self._lock = threading.Lock()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_writer.setblocking(False)
        # Not select, which fails for file descriptors above 1023: a worker thread gets one if there are a thousand watches.
        self._poll = select.poll()
        for readable in (sock, self._wake_reader):
            self._poll.register(readable, select.POLLIN)

    def send(self, *messages: FromWorker) -> None:
        """Send messages with one system call. Blocks while the service is slow to read.

        Raises:
            Unsendable: a message contains a value that cannot be encoded.
        """
        if os.getpid() != self._worker:
            _end_fork(messages)
        frames = [_frame(message) for message in messages]
        with self._lock:
            try:
                self._sock.sendall(frames[0] if len(frames) == 1 else b"".join(frames))
            except OSError:
                # The service is gone. The control thread reads the end of the stream and ends the worker.
                logger.debug("The service has closed the channel.")

    def wake(self) -> None:
        """Make :meth:`wait` return."""
        with contextlib.suppress(OSError):  # it is awake already, or has ended
            self._wake_writer.send(b"x")

    def wait(self, timeout: float | None) -> bytes | None:
        """Wait for data, :meth:`wake`, or ``timeout`` seconds.

        Returns the data, b"" at the end of the stream, or None if there is no data.
        """
        ready = {fd for fd, _ in self._poll.poll(None if timeout is None else math.ceil(timeout * 1000))}
        if self._wake_reader.fileno() in ready:
            self._wake_reader.recv(4096)
        if self._sock.fileno() in ready:
            try:
                return self._sock.recv(_CHUNK)
            except OSError:
                return b""
        return None

    def close(self) -> None:
        """Close the sockets. Messages sent from now on are lost."""
        for sock in (self._sock, self._wake_reader, self._wake_writer):
            sock.close()


def _end_fork(messages: Sequence[FromWorker]) -> NoReturn:
    """End a process that the model has forked, and that has returned from a hook: only the worker may speak to the service."""
    failures = "".join(message.failure.traceback or "" for message in messages if isinstance(message, Failed))
    logger.error(
        "A process that the model has forked was ended when it returned from a hook; end it with os._exit.%s",
        f"\n{failures}" if failures else "",
    )
    os._exit(1)


def _frame(message: FromWorker) -> bytearray:
    """Return a message as a frame. For a prediction that is too large, return the failure of its request instead."""
    try:
        return frame(message, LARGEST_FROM_WORKER)
    except Unsendable as error:
        if not isinstance(message, Predicted):
            raise
        return frame(
            PredictionFailed(message.id, Failure("Unsendable", f"The prediction has {error}; send fewer records."))
        )


def serve_model(
    sock: socket.socket,
    reference: str,
    on_orphaned: Callable[[], None],
    spool: str | None = None,
    *,
    mistk_names: bool = True,
) -> None:
    """Load the model that ``reference`` names and follow the messages from ``sock`` until asked to exit.

    Args:
        sock: the worker's end of the socket pair.
        reference: the reference to the model, in a form that :mod:`mistk_service.workers.child.loader` accepts.
        on_orphaned: called on the control thread when the service is gone.
        spool: the folder for copies of artifacts; None to make no copies.
        mistk_names: whether to offer MISTK's names to the model if MISTK is not installed.
    """
    channel = _Channel(sock)
    runner = Runner(channel.send, channel.wake, spool=spool)
    threading.Thread(target=_listen, args=(channel, runner, on_orphaned), name="mistk-control", daemon=True).start()
    try:
        model_class = load_model_class(reference, mistk_names=mistk_names)
        # Log records of the author's own code get the same level as those of the service.
        logging.getLogger(model_class.__module__.partition(".")[0]).setLevel(logging.getLogger("mistk_service").level)
        model = construct_model(model_class, reference)
    except ModelLoadError as error:
        name = type(error).__name__
        # The text may contain a path that is not valid Unicode, or the author's own message.
        trace = None if error.traceback is None else encodable(error.traceback)
        channel.send(LoadFailed(name, Failure(name, encodable(str(error)), trace)))
        return
    runner.run(model)


def _listen(channel: _Channel, runner: Runner, on_orphaned: Callable[[], None]) -> None:
    """Run the control thread: pass on the service's messages, and send the model's reports."""
    try:
        _listen_until_end(channel, runner, on_orphaned)
    except Exception as error:
        logger.critical("The control thread ended with %r.", error, exc_info=True)
    finally:
        # The service sees the end of the channel and ends the worker, which cannot work without its control thread.
        channel.close()


def _listen_until_end(channel: _Channel, runner: Runner, on_orphaned: Callable[[], None]) -> None:
    reader = FrameReader()
    while True:
        data = channel.wait(runner.context.flush_due())
        if data == b"":
            runner.handle(Exit("do_terminate"))
            on_orphaned()
            return
        runner.handle_all(map(decode_to_worker, reader.feed(data or b"")))
        if runner.context.flush_due() == 0.0:
            runner.context.flush(held_too=False)


def _end_group() -> None:
    """Kill this process and all that it started."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _start_sentinel(lifeline: int) -> None:
    try:
        subprocess.run(_SENTINEL, stdin=lifeline, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    except OSError as error:
        logger.warning("No shell to watch the worker (%s); only its control thread watches it.", error)
    os.close(lifeline)


def main(argv: list[str] | None = None) -> None:
    """Run the worker process."""
    parser = argparse.ArgumentParser(description="Internal: a worker of mistk-service.")
    parser.add_argument("--socket", type=int, required=True)
    parser.add_argument("--lifeline", type=int, required=True)
    parser.add_argument("--log-level", default="INFO")
    parser.add_argument("--log-format", default="text")
    parser.add_argument("--log-libraries", action="store_true")
    parser.add_argument("--spool")
    parser.add_argument("--no-mistk-names", dest="mistk_names", action="store_false")
    parser.add_argument("reference")
    options = parser.parse_args(argv)
    # The service handles Ctrl-C in the terminal and tells its worker what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    configure_logging(options.log_level, options.log_format, libraries=options.log_libraries)
    _start_sentinel(options.lifeline)
    sock = socket.socket(fileno=options.socket)
    worker = os.getpid()
    # Programs that the model starts must not inherit the channel.
    os.set_inheritable(sock.fileno(), False)
    try:
        serve_model(sock, options.reference, _end_group, options.spool, mistk_names=options.mistk_names)
    finally:
        # Exit in any case: threads that the model left behind would keep the process alive for ever. The service, which sees
        # the end of the channel, does not wait for them. A process that the model forked may come here too.
        if os.getpid() == worker:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    # Registered under its real name too, so that a model which imports it does not get a second copy.
    from mistk_service.workers.child.main import main as _main

    _main()
