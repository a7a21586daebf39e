"""Starts a container for the duration of a ``with`` block, and returns its client."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar, overload

from mistk_service.client.agent import AgentClient, AsyncAgentClient
from mistk_service.client.container import AsyncContainerClient, ContainerCalls, ContainerClient
from mistk_service.client.evaluation import AsyncEvaluationClient, EvaluationClient
from mistk_service.client.model import AsyncModelClient, ModelClient
from mistk_service.client.orchestrator import AsyncOrchestratorClient, OrchestratorClient
from mistk_service.client.transform import AsyncTransformClient, TransformClient
from mistk_service.errors import LaunchFailed, RequestRefused, ServiceUnreachable

C = TypeVar("C", bound=ContainerCalls)

#: The clients of all kinds, blocking and for asyncio.
CLIENTS: tuple[tuple[type[ContainerClient], type[AsyncContainerClient]], ...] = (
    (ModelClient, AsyncModelClient),
    (EvaluationClient, AsyncEvaluationClient),
    (TransformClient, AsyncTransformClient),
    (AgentClient, AsyncAgentClient),
    (OrchestratorClient, AsyncOrchestratorClient),
)

#: Maximum seconds until the service accepts calls, and until it has exited: more than its own ``--grace`` of 10.
START_TIMEOUT, STOP_TIMEOUT = 120.0, 20.0

#: Seconds between two reads of the file that a service prints to.
_TAIL_INTERVAL = 0.05

#: Lines of the service's output that an error shows.
_KEPT_LINES = 100


class Launch(Generic[C]):
    """A container in a separate process; see :func:`launch`.

    Attributes:
        url: the address of the service, once it is running.
        exit_code: the exit code of the service, once it has exited.
    """

    url: str = ""
    exit_code: int | None = None

    def __init__(
        self,
        command: Sequence[str],
        client: type[C] | None,
        on_output: Callable[[str], object],
        *,
        keep_running: bool,
    ) -> None:
        self._command = command
        self._keep_running = keep_running
        self._class = client
        self._on_output = on_output
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._address: SimpleQueue[str | None] = SimpleQueue()
        self._client: Any = None
        self._log: str | None = None

    def __enter__(self) -> C:
        self._start()
        self._client = self._make_client(asynchronous=False)
        client: C = self._client
        return client

    def __exit__(self, *_: object) -> None:
        self._client.close()
        if not self._keep_running:
            self._stop()

    async def __aenter__(self) -> C:
        await asyncio.to_thread(self._start)
        self._client = await asyncio.to_thread(self._make_client, asynchronous=True)
        client: C = self._client
        return client

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()
        if not self._keep_running:
            await asyncio.to_thread(self._stop)

    def wait(self) -> int:
        """Wait until the service has exited, for example after ``shutdown``, and return its exit code."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.exit_code = self._process.wait(STOP_TIMEOUT)
        return self._end()

    def _start(self) -> None:
        """Start the service, and wait until it accepts calls.

        Raises:
            LaunchFailed: it ended, or took too long.
        """
        # In a separate session: Ctrl-C in the terminal is for this process, which then stops the service gracefully.
        # If this process dies, the pipe to its standard input closes, and the service shuts down; one that keeps running
        # writes to a file, since a pipe would break.
        log, self._log = (
            tempfile.mkstemp(prefix="mistk-", suffix=".log") if self._keep_running else (subprocess.PIPE, None)
        )
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL if self._keep_running else subprocess.PIPE,
            stderr=log,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        if self._log is not None:
            os.close(log)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        found = None
        try:
            with contextlib.suppress(Empty):
                found = self._address.get(timeout=START_TIMEOUT)
        finally:
            if found is None:
                self._end()
        if found is None:
            printed = "\n".join(self._lines)
            raise LaunchFailed(f"The container did not start. It printed:\n{printed}", output=tuple(self._lines))
        self.url = found

    def _make_client(self, *, asynchronous: bool) -> ContainerCalls:
        try:
            made = self._class or _client_class(self.url, asynchronous=asynchronous)
            return made(self.url)
        except BaseException:  # also for Ctrl-C
            self._stop()
            raise

    def _stop(self) -> None:
        """Stop the service gracefully, or kill it if it does not exit in time."""
        self._process.terminate()  # does nothing if it has ended
        self.wait()

    def _end(self) -> int:
        self._process.kill()
        self.exit_code = self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._reader.join(STOP_TIMEOUT)
        return self.exit_code

    def _read(self) -> None:
        """Read what the service prints, and pass its address on; None at the end."""
        for line in self._printed():
            self._lines.append(line.rstrip())
            self._on_output(line.rstrip())
            if found := re.search(r"Serving .*? at (https?://\S+)", line):
                self._address.put(found[1])
        self._address.put(None)

    def _printed(self) -> Iterator[str]:
        """Yield the lines that the service prints, until it has ended."""
        if self._log is None:
            assert self._process.stderr is not None
            with self._process.stderr as stream:
                yield from stream
            return
        with Path(self._log).open(errors="replace") as stream:
            ended = False
            while not ended:
                ended = self._process.poll() is not None  # before the reading, so that nothing is missed
                yield from stream
                time.sleep(0 if ended else _TAIL_INTERVAL)


@overload
def launch(
    component: str,
    client: type[C],
    *,
    port: int = 0,
    options: Sequence[str] = (),
    keep_running: bool = False,
    on_output: Callable[[str], object] = ...,
) -> Launch[C]: ...
@overload
def launch(
    component: str,
    client: None = None,
    *,
    port: int = 0,
    options: Sequence[str] = (),
    keep_running: bool = False,
    on_output: Callable[[str], object] = ...,
) -> Launch[Any]: ...
def launch(
    component: str,
    client: type[C] | None = None,
    *,
    port: int = 0,
    options: Sequence[str] = (),
    keep_running: bool = False,
    on_output: Callable[[str], object] = lambda _: None,
) -> Launch[Any]:
    """Start a container, and return its client.

    ::

        with launch("my_model.py:MyModel") as model:
            model.wait_for("initialized", since=model.initialize(["training"]))

    Use it with ``with``, or with ``async with`` for a client that works with asyncio. The block begins when the container
    accepts calls. When it ends, the container is shut down: a running activity has ``--grace`` seconds to stop.

    Args:
        component: the class, as ``mistk-service serve`` takes it: ``package.module:Class`` or ``path/to/file.py:Class``.
        client: the class of the client, which also tells type checkers the type of the client; by default the one for the
            kind of the container.
        port: the port to listen on; 0 for a free one.
        options: further options of ``mistk-service serve``, such as ``["--state-dir", "runs"]``.
        keep_running: whether the container keeps running after the block and after this process. It then prints to a file.
        on_output: called with each line that the service prints, in another thread.

    Raises:
        LaunchFailed: at the beginning of the block, if the container does not start.
    """
    serve = [sys.executable, "-m", "mistk_service", "serve", component, "--port", str(port)]
    lifeline = [] if keep_running else ["--stdin-lifeline"]
    return Launch([*serve, *lifeline, *options], client, on_output, keep_running=keep_running)


def _client_class(url: str, *, asynchronous: bool) -> type[ContainerCalls]:
    """Return the class of the client for the container at an address."""
    for blocking, with_asyncio in CLIENTS:
        with blocking(url) as client:
            try:
                client.status()
            except RequestRefused as error:
                if error.code != 404:
                    raise
            else:
                return with_asyncio if asynchronous else blocking
    raise ServiceUnreachable(f"The container at {url} is of a kind that this version does not know.", url=url)
