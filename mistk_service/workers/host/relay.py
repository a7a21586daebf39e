"""Runs in a Ray actor: starts a worker process that connects to the service, and forwards its output.

So the model has the same as without Ray: a main thread, a separate process, and an explanation of its death.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Mapping
from typing import Any

from mistk_service.errors import Failure, InvalidRequest, WorkerDied
from mistk_service.workers.host.environment import worker_environment
from mistk_service.workers.host.files import LocalFiles
from mistk_service.workers.host.process import ProcessWorker
from mistk_service.workers.host.socket_worker import call_on
from mistk_service.workers.messages import FromWorker
from mistk_service.workers.protocol import Worker

#: A line of the worker's output, or how it exited.
RelayEvent = str | Failure

#: The maximum number of lines that wait for the service. A model that prints more is blocked.
_LINES = 1000

#: Seconds to try to connect to the service.
_CONNECTING = 10.0

#: Seconds without a message after which a TCP keep-alive is sent.
_IDLE = 60


class Relay:
    """One worker process. Ray calls the methods, all on one event loop.

    Args:
        reference: the reference to the model.
        folder: the working directory of the service, which the worker uses if it exists on this machine.
        variables: environment variables of the worker in addition to those of this machine.
        options: further arguments of :class:`ProcessWorker`.
        address: the address at which the service waits for the worker.
        secret: the first bytes of the connection.
    """

    def __init__(
        self,
        reference: str,
        folder: str,
        variables: Mapping[str, str],
        options: Mapping[str, Any],
        address: tuple[str, int],
        secret: bytes,
    ) -> None:
        with contextlib.suppress(OSError):
            os.chdir(folder)
        environment = worker_environment(os.environ) | dict(variables)
        self._worker = _ConnectedProcess(
            address, secret, reference, self, environment=environment, on_output=self._on_output, **options
        )
        self._files = LocalFiles()
        self._events: asyncio.Queue[RelayEvent] = asyncio.Queue()
        self._free_slots = threading.Semaphore(_LINES)

    async def start(self) -> tuple[str, int | None]:
        """Start the worker; return the name of the machine and the process id.

        If it cannot be started, an event reports that.
        """
        self._loop = asyncio.get_running_loop()
        with contextlib.suppress(WorkerDied):
            await self._worker.start()
        return socket.gethostname(), self._worker.pid

    async def events(self) -> list[RelayEvent]:
        """Wait for events of the worker and return all of them. A Failure is the last one."""
        events = [await self._events.get()]
        while not self._events.empty():
            events.append(self._events.get_nowait())
        self._free_slots.release(len(events))
        return events

    async def node(self) -> str:
        """Return the id that Ray has given to this machine."""
        import ray  # here, since nothing else of a relay needs it

        node_id: str = ray.get_runtime_context().get_node_id()
        return node_id

    async def kill(self, reason: str | None = None) -> None:
        """Kill the worker, and report this reason for its exit, if given."""
        self._worker.kill_for(reason)

    async def check(self, method: str, *arguments: Any) -> Any:
        """Call a method of this machine's :class:`Files`. Return its result, or the message and the field of its refusal."""
        try:
            return await getattr(self._files, method)(*arguments), None
        except InvalidRequest as error:
            return None, (str(error), error.field)

    def on_message(self, _worker: Worker, _message: FromWorker) -> None:
        """Handle a message. There are none, since the worker sends them to the service."""

    def _on_output(self, line: str) -> None:
        self._free_slots.acquire()
        call_on(self._loop, lambda: self._events.put_nowait(line))

    def on_exit(self, _worker: Worker, failure: Failure) -> None:
        """Handle the exit of the worker."""
        self._events.put_nowait(failure)


class _ConnectedProcess(ProcessWorker):
    """A worker process on this machine that has a connection to the service for its channel."""

    def __init__(self, address: tuple[str, int], secret: bytes, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._address, self._secret = address, secret

    def kill_for(self, reason: str | None) -> None:
        """Kill the process, unless it has ended."""
        self._ended_by_service = self._ended_by_service or reason
        self.kill()

    async def _open(self) -> None:
        self._eof.set()  # there is no channel that ends here
        with contextlib.ExitStack() as undo:
            sock = undo.enter_context(await asyncio.to_thread(_connection, self._address, self._secret))
            self._begin(sock)
            undo.pop_all()


def _connection(address: tuple[str, int], secret: bytes) -> socket.socket:
    try:
        sock = socket.create_connection(address, _CONNECTING)
    except OSError as error:
        host, port = address
        raise OSError(
            f"{socket.gethostname()} cannot connect to the service at {host}, port {port} ({error}); expected a network in "
            "which the machines of the cluster reach each other on every port"
        ) from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A firewall may drop an idle connection.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE)
    sock.sendall(secret)
    sock.settimeout(None)
    return sock
