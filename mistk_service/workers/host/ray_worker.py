"""A worker as an actor of Ray, on this machine or another one of the cluster."""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import secrets
import signal
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import ray
from ray._private.state import state  # there is no public way to ask for machines that are being drained
from ray.exceptions import RayError

from mistk_service.errors import Failure, InvalidRequest, SettingsError
from mistk_service.workers.host.process import describe_exit
from mistk_service.workers.host.relay import Relay
from mistk_service.workers.host.socket_worker import DRAIN, LINGER, SocketWorker, set_within
from mistk_service.workers.protocol import Files, FileStamp, WorkerListener

logger = logging.getLogger(__name__)

#: The size of the object store of a Ray that the service starts. Little goes through it.
_OBJECT_STORE = 256 * 1024 * 1024

#: The size in bytes of the secret that a worker sends first.
_SECRET = 32

#: Maximum seconds until a connection has sent the secret.
_HANDSHAKE_TIMEOUT = 10.0

#: The maximum number of connections that have not sent the secret. The worker sends it at once, so the oldest is closed.
_MAX_UNAUTHENTICATED = 16

#: Maximum seconds until an actor reports how its worker exited. An actor that waits for room in the cluster cannot report.
_UNTIL_ENDED = 2.0

#: Seconds between two checks for machines that are being drained.
_LOOK = 1.0

_CUT_OFF = "The connection to the worker process ended, the process did not end itself, and was killed."

_KILLED = "The worker's actor was killed by the service."


def connect(address: str | None) -> None:
    """Connect to a cluster, or start a Ray of this machine's own that ends with the service. Call it on the main thread.

    Raises:
        SettingsError: the cluster cannot be reached, or is to encrypt what it sends.
    """
    if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
        raise SettingsError(
            "--worker ray: RAY_USE_TLS is set, but the messages between the service and its workers are not encrypted. "
            "Unset it, and run the cluster in a private network."
        )
    if ray.is_initialized():
        return
    started: dict[str, Any] = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address or "local", log_to_driver=True, logging_level="WARNING", **({} if address else started))
    except (RayError, OSError, RuntimeError, ValueError) as error:
        raise SettingsError(
            f"--ray-address: {address or 'a local Ray'} cannot be used ({error}); expected HOST:PORT or auto. If the "
            "cluster asks for a token, set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN unless it is in ~/.ray/auth_token."
        ) from error
    finally:
        signal.signal(signal.SIGTERM, handler)  # the service's own; Ray has set one that ends the process


def replica_capacity(cpus: float | None, gpus: float) -> int:
    """Return the number of replicas that fit into the cluster besides the worker, at least one.

    Args:
        cpus: the processors for each; None for one.
        gpus: the GPUs for each. If it is 0, the processors count.
    """
    kind, each = ("GPU", gpus) if gpus else ("CPU", cpus or 1.0)
    return max(1, int(ray.cluster_resources().get(kind, 0) / each) - 1)


class RayWorker(SocketWorker):
    """A worker in an actor, which connects to the service. Ray only starts it, ends it, and passes on what it prints.

    Args:
        reference: the reference to the model.
        listener: receives the worker's messages and its end.
        cpus: the processors that Ray reserves for it; None for Ray's default.
        gpus: the GPUs that Ray reserves for it.
        variables: environment variables in addition to those of its machine.
        on_output: receives each line of its output.
        on_drain: called once if the machine is about to leave the cluster, while the worker still runs.
        spread: whether to prefer machines with few actors, so that the loss of a machine ends few of them.
        linger: seconds that it gets to end after it has closed its end of the channel.
        options: further arguments of :class:`ProcessWorker`, which runs on the machine of the actor.
    """

    def __init__(
        self,
        reference: str,
        listener: WorkerListener,
        *,
        cpus: float | None = None,
        gpus: float = 0,
        variables: Mapping[str, str] | None = None,
        on_output: Callable[[str], None] = lambda _: None,
        on_drain: Callable[[], None] | None = None,
        spread: bool = False,
        linger: float = LINGER,
        **options: Any,
    ) -> None:
        super().__init__(reference, listener, linger=linger)
        self.files: Files = _ActorFiles(self)
        self._on_output, self._on_drain = on_output, on_drain
        self._resources = {"num_cpus": cpus, "num_gpus": gpus, "scheduling_strategy": "SPREAD" if spread else None}
        self._arguments = reference, os.getcwd(), variables or {}, options
        self._pid: int | None = None
        self._actor: Any = None
        self._actor_killed = False
        self._server: asyncio.Server | None = None
        self._reading: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, once it has one on this machine."""
        return self._pid

    def kill(self) -> None:
        """Kill the worker at once, and its actor if it does not report the exit in time."""
        if self.exited:
            return
        if self._actor is None:
            self._has_exited(Failure("WorkerDied", _KILLED))
        else:
            self._actor.kill.remote(self._ended_by_service)
            asyncio.get_running_loop().call_later(_UNTIL_ENDED, self._kill_actor)

    def _kill_actor(self) -> None:
        if not self.exited:
            self._actor_killed = True
            ray.kill(self._actor)

    async def check(self, method: str, *arguments: Any) -> Any:
        """Return the result of a method of :class:`Files` on the machine of the actor.

        Raises:
            InvalidRequest: the path cannot be used.
        """
        try:
            result, refusal = await self._actor.check.remote(method, *arguments)
        except RayError as error:
            raise InvalidRequest(f"The path cannot be checked: {_reason_of(error)}") from error
        if refusal is not None:
            message, field = refusal
            raise InvalidRequest(message, field=field)
        return result

    async def _open(self) -> None:
        """Wait for a connection, and let Ray start the actor as soon as the cluster has room for it."""
        loop = asyncio.get_running_loop()
        secret = secrets.token_bytes(_SECRET)
        host = ray.util.get_node_ip_address()
        waiting: deque[asyncio.Transport] = deque()
        self._server = await loop.create_server(lambda: _SecretHandshake(secret, self._accept, waiting), host, 0)
        if self.exited:  # killed before
            self._server.close()
            return
        address = host, self._server.sockets[0].getsockname()[1]
        resources = {name: value for name, value in self._resources.items() if value is not None}
        try:
            self._actor = ray.remote(Relay).options(**resources).remote(*self._arguments, address, secret)
        except RayError as error:  # Ray has ended, for example
            self._server.close()
            raise OSError(_reason_of(error)) from error
        self._reading = loop.create_task(self._read())
        if self._on_drain is not None:
            self._watching = loop.create_task(self._watch(self._on_drain))

    def _accept(self, transport: asyncio.Transport, data: bytes) -> None:
        """Take the connection of the worker, which has sent this data so far."""
        if self.exited or self._transport is not None:
            transport.abort()
            return
        assert self._server is not None
        self._server.close()
        channel = self._channel()
        transport.set_protocol(channel)
        self._connect(transport)
        channel.data_received(data)

    async def _read(self) -> None:
        try:
            failure = await self._follow()
        except RayError as error:
            failure = Failure("WorkerDied", _KILLED if self._actor_killed else _reason_of(error))
        except Exception as error:  # a bug of the service, which ends the worker
            logger.critical("The output of a worker could not be handled.", exc_info=True)
            failure = Failure(
                "WorkerDied", f"The events of the worker could not be received ({error!r}), and the worker was killed."
            )
        try:
            ray.kill(self._actor)  # its resources are free again
        finally:  # also where Ray itself has ended
            self._has_exited(failure)

    async def _follow(self) -> Failure:
        """Follow the worker until it has ended, and return how."""
        host, pid = await self._actor.start.remote()
        self._pid = pid if host == socket.gethostname() else None
        while True:
            for event in await self._actor.events.remote():
                if isinstance(event, Failure):
                    if self._transport is not None:
                        await set_within(DRAIN, self._eof)
                    # A worker whose channel breaks ends itself with the signal.
                    was_killed = event.message == describe_exit(-signal.SIGKILL)
                    reason = self._ended_by_service if was_killed else None
                    return Failure("WorkerDied", reason or event.message, None, event.output)
                self._on_output(event)

    async def _watch(self, on_drain: Callable[[], None]) -> None:
        """Check periodically whether the machine of the actor is about to leave the cluster."""
        try:
            node = await self._actor.node.remote()
            while node not in await asyncio.to_thread(state.get_draining_nodes):  # noqa: ASYNC110 - no event says so
                await asyncio.sleep(_LOOK)
        except RayError:
            return  # the actor has died
        except Exception:  # another version of Ray may not have what is private
            logger.warning("Ray does not report which machines leave the cluster.", exc_info=True)
            return
        logger.warning("The machine of the worker is about to leave the cluster.")
        on_drain()

    def _give_up(self) -> None:
        # The actor is not killed: if it has died too, Ray reports why.
        if not self.exited:
            self._actor.kill.remote(self._ended_by_service or _CUT_OFF)

    def _has_exited(self, failure: Failure) -> None:
        if self._server is not None:
            self._server.close()
        if self._watching is not None:
            self._watching.cancel()
        super()._has_exited(failure)


class _SecretHandshake(asyncio.Protocol):
    """Waits for the secret at the beginning of a connection.

    Args:
        secret: the secret.
        accept: called with a connection that begins with it, and the data after it.
        waiting: the connections of the same server that have not sent it, oldest first.
    """

    def __init__(
        self, secret: bytes, accept: Callable[[asyncio.Transport, bytes], None], waiting: deque[asyncio.Transport]
    ) -> None:
        self._secret, self._accept, self._waiting = secret, accept, waiting
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._timeout = asyncio.get_running_loop().call_later(_HANDSHAKE_TIMEOUT, self._transport.abort)
        self._waiting.append(self._transport)
        if len(self._waiting) > _MAX_UNAUTHENTICATED:
            self._waiting.popleft().abort()

    def connection_lost(self, _: Exception | None) -> None:
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        self._timeout.cancel()
        with suppress(ValueError):  # it was closed for a newer one
            self._waiting.remove(self._transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if len(self._data) < len(self._secret):
            return
        self._stop_waiting()
        given, rest = self._data[: len(self._secret)], self._data[len(self._secret) :]
        if hmac.compare_digest(given, self._secret):
            self._accept(self._transport, rest)
        else:
            self._transport.abort()


class _ActorFiles:
    """The file system of the machine of an actor."""

    def __init__(self, worker: RayWorker) -> None:
        self._worker = worker

    async def require_readable(self, path: str, field: str) -> None:
        await self._worker.check("require_readable", path, field)

    async def prepare_folder(
        self, path: str, field: str, reserved: Path | None
    ) -> tuple[Sequence[Path], Mapping[str, FileStamp] | None]:
        result: tuple[Sequence[Path], Mapping[str, FileStamp] | None] = await self._worker.check(
            "prepare_folder", path, field, reserved
        )
        return result

    async def remove_folders(self, folders: Sequence[Path]) -> None:
        await self._worker.check("remove_folders", folders)


def _reason_of(error: RayError) -> str:
    """Return the reason for an actor's death, in one line."""
    text = " ".join(str(error).split())
    return f"The worker's actor died: {text}"
