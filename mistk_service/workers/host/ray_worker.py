"""A worker as an actor of Ray, on this machine or another one of the cluster."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from mistk_service.errors import Failure, InvalidRequest, SettingsError
from mistk_service.workers.framing import LARGEST_FROM_WORKER, FrameReader, decode_from_worker, frame
from mistk_service.workers.host.relay import Relay
from mistk_service.workers.messages import ToWorker
from mistk_service.workers.protocol import Files, FileStamp, WorkerListener

logger = logging.getLogger(__name__)

#: Calls that an actor takes at a time: messages, checks of paths, and the stream of what it answers.
_CALLS = 1000

#: The size of the object store of a Ray that the service starts. Messages are small, and large ones go to the disk.
_OBJECT_STORE = 256 * 1024 * 1024

#: Seconds that an actor gets to say how its worker has ended. One that waits for room in the cluster cannot say anything.
_UNTIL_ENDED = 2.0

_KILLED = "The worker's actor was killed by the service."


def connect(address: str | None) -> None:
    """Connect to a cluster, or start a Ray of this machine's own that ends with the service. Call it on the main thread.

    Raises:
        SettingsError: the cluster cannot be reached.
    """
    if ray.is_initialized():
        return
    started: dict[str, Any] = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address or "local", log_to_driver=True, logging_level="WARNING", **({} if address else started))
    except (RayError, OSError, RuntimeError, ValueError) as error:
        raise SettingsError(
            f"--ray-address: {address or 'a Ray of its own'} cannot be used ({error}); expected HOST:PORT or auto. If the "
            "cluster asks for a token, set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN unless it is in ~/.ray/auth_token.",
            setting="ray-address",
        ) from error
    finally:
        signal.signal(signal.SIGTERM, handler)  # the service's own; Ray has set one that ends the process


def room(cpus: float | None, gpus: float) -> int:
    """Return how many replicas the cluster has room for, besides the worker, at least one.

    Args:
        cpus: the processors of each; None for one.
        gpus: the GPUs of each. If it is 0, the processors count.
    """
    kind, each = ("GPU", gpus) if gpus else ("CPU", cpus or 1.0)
    return max(1, int(ray.cluster_resources().get(kind, 0) / each) - 1)


class RayWorker:
    """A worker in an actor.

    Args:
        reference: the reference to the model.
        listener: receives the worker's messages and its end.
        cpus: the processors that Ray reserves for it; None for Ray's default.
        gpus: the GPUs, which it has for itself.
        variables: environment variables that it gets on top of those of its machine.
        on_output: receives each line of its output.
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
        **options: Any,
    ) -> None:
        self.reference = reference
        #: Its process id, once it has one on this machine.
        self.pid: int | None = None
        self.files: Files = _ActorFiles(self)
        self._listener, self._on_output = listener, on_output
        self._resources = {"num_cpus": cpus, "num_gpus": gpus}
        self._arguments = reference, os.getcwd(), variables or {}, options
        self._actor: Any = None
        self._waiting: list[bytearray] = []
        self._scheduled = False
        self._sent = 0
        self._ended_by_service: str | None = None
        self._exited = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    @property
    def exited(self) -> bool:
        """Whether the worker has ended."""
        return self._exited.is_set()

    async def start(self) -> None:
        """Start the actor, as soon as the cluster has room for it."""
        if self.exited:  # killed before
            return
        resources = {name: value for name, value in self._resources.items() if value is not None}
        self._actor = ray.remote(Relay).options(max_concurrency=_CALLS, **resources).remote(*self._arguments)
        messages = self._actor.run.options(num_returns="streaming").remote()
        self._reading = asyncio.get_running_loop().create_task(self._read(messages))
        self._schedule()

    def send(self, message: ToWorker) -> None:
        """Send a message without blocking. A message to a worker that has ended is lost.

        Raises:
            Unsendable: the message contains a value that cannot be encoded.
        """
        self._waiting.append(frame(message))
        self._schedule()

    def kill(self) -> None:
        """Kill the worker at once, and its actor if it does not say in time that the worker has ended."""
        if self.exited:
            return
        self._ended_by_service = self._ended_by_service or _KILLED
        if self._actor is None:
            self._has_exited(Failure("WorkerDied", self._ended_by_service))
        else:
            self._actor.kill.remote()
            asyncio.get_running_loop().call_later(_UNTIL_ENDED, ray.kill, self._actor)

    async def wait_exited(self) -> None:
        """Wait for the worker to end. The listener has been notified when this returns."""
        await self._exited.wait()

    async def check(self, method: str, *arguments: Any) -> Any:
        """Return the result of a method of :class:`Files` on the machine of the actor.

        Raises:
            InvalidRequest: the path cannot be used.
        """
        try:
            result, refusal = await self._actor.check.remote(method, *arguments)
        except RayError as error:
            raise InvalidRequest(f"The path cannot be checked: {_told(error)}") from error
        if refusal is not None:
            message, field = refusal
            raise InvalidRequest(message, field=field)
        return result

    def _schedule(self) -> None:
        # Requests come in bursts, and a call for each would cost more than everything else done here.
        if not self._scheduled and self._waiting and self._actor is not None:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        data, self._waiting = b"".join(self._waiting), []
        if not self.exited:
            self._actor.send.remote(self._sent, data)
            self._sent += 1

    async def _read(self, messages: Any) -> None:
        reader = FrameReader(LARGEST_FROM_WORKER)
        failure = Failure("WorkerDied", "The worker's actor ended.")
        try:
            async for batch in messages:
                for news in await batch:
                    if isinstance(news, Failure):
                        failure = news
                    elif isinstance(news, bytes):
                        for body in reader.feed(news):
                            self._listener.on_message(self, decode_from_worker(body))
                    elif isinstance(news, str):
                        self._on_output(news)
                    else:
                        self.pid = news[1] if news[0] == socket.gethostname() else None
        except RayError as error:
            failure = Failure("WorkerDied", self._ended_by_service or _told(error))
        except Exception as error:  # a bug of the service, which ends the worker
            logger.critical("The messages of a worker cannot be handled.", exc_info=True)
            failure = Failure("WorkerDied", f"The channel to the worker broke ({error!r}), and the worker was killed.")
        try:
            ray.kill(self._actor)  # its resources are free again
        finally:  # also where Ray itself has ended
            self._has_exited(failure)

    def _has_exited(self, failure: Failure) -> None:
        self._exited.set()
        self._listener.on_exit(self, failure)


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


def _told(error: RayError) -> str:
    """Return in a line why an actor has died."""
    text = " ".join(str(error).split())
    return f"The worker's actor died: {text}"
