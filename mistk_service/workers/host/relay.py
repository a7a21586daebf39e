"""What runs in a Ray actor: a worker process beside it, whose messages it passes on.

The model so has what it has without Ray: a main thread, a process of its own, and an explanation of its death.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

from mistk_service.errors import Failure, InvalidRequest, WorkerDied
from mistk_service.workers.framing import FrameReader, decode_to_worker, frame
from mistk_service.workers.host.environment import worker_environment
from mistk_service.workers.host.files import LocalFiles
from mistk_service.workers.host.process import ProcessWorker
from mistk_service.workers.host.socket_worker import call_on
from mistk_service.workers.messages import FromWorker
from mistk_service.workers.protocol import Worker

#: Of a worker: its machine and process id, a frame of a message, a line of its output, and at last how it has ended.
News = tuple[str, int | None] | bytes | str | Failure


class Relay:
    """One worker process. Ray calls the methods, all on one event loop.

    Args:
        reference: the reference to the model.
        folder: the working directory of the service, which the worker gets if this machine has it.
        variables: what the environment of the worker gets on top of this machine's.
        options: further arguments of :class:`ProcessWorker`.
    """

    def __init__(self, reference: str, folder: str, variables: Mapping[str, str], options: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):
            os.chdir(folder)
        environment = worker_environment(os.environ) | dict(variables)
        self._worker = ProcessWorker(reference, self, environment=environment, on_output=self._on_output, **options)
        self._files = LocalFiles()
        self._reader = FrameReader()
        #: What has come before its turn, by its number, and the number whose turn it is: Ray may reorder calls.
        self._early: dict[int, bytes] = {}
        self._next = 0
        self._news: asyncio.Queue[News] = asyncio.Queue()

    async def run(self) -> AsyncIterator[list[News]]:
        """Run the worker. Yield what there is of it until it has ended."""
        self._loop = asyncio.get_running_loop()
        with contextlib.suppress(WorkerDied):  # it has ended, and the listener has been notified
            await self._worker.start()
        batch: list[News] = [(socket.gethostname(), self._worker.pid)]
        while not isinstance(batch[-1], Failure):
            yield batch
            batch = [await self._news.get()]
            while not self._news.empty():
                batch.append(self._news.get_nowait())
        yield batch

    async def send(self, number: int, frames: bytes) -> None:
        """Pass frames on to the worker, in the order of their numbers."""
        self._early[number] = frames
        while (data := self._early.pop(self._next, None)) is not None:
            self._next += 1
            for body in self._reader.feed(data):
                self._worker.send(decode_to_worker(body))

    async def kill(self) -> None:
        """Kill the worker."""
        self._worker.kill()

    async def check(self, method: str, *arguments: Any) -> Any:
        """Call a method of this machine's :class:`Files`. Return its result, or the message and the field of its refusal."""
        try:
            return await getattr(self._files, method)(*arguments), None
        except InvalidRequest as error:
            return None, (str(error), error.field)

    def on_message(self, _worker: Worker, message: FromWorker) -> None:
        """Handle a message of the worker."""
        self._news.put_nowait(bytes(frame(message)))

    def _on_output(self, line: str) -> None:
        call_on(self._loop, lambda: self._news.put_nowait(line))

    def on_exit(self, _worker: Worker, failure: Failure) -> None:
        """Handle the end of the worker."""
        self._news.put_nowait(failure)
