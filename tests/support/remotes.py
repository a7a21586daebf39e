"""Remote tracking servers for the tests: MLflow's own as a process, and a proxy that does to any server what networks do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx

#: No telemetry, no progress bars; where MLflow's own database is locked by its own requests the client tries again.
CALM = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5",
    "GIT_PYTHON_REFRESH": "quiet",
    "TQDM_DISABLE": "1",
}


def reserved_port() -> socket.socket:
    """Return a socket that keeps a port of loopback from everybody but a server that is told to use it.

    Nobody listens on it, so who connects is refused; a server shares it, as servers do that want their port back after a
    restart.
    """
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place.bind(("127.0.0.1", 0))
    return place


class MlflowServer:
    """A real ``mlflow server``, with its database and artifacts in a folder, that can be killed and started again.

    Attributes:
        url: where it listens, started or not.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._place = reserved_port()
        self._port = self._place.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()
        self._place.close()

    def start(self) -> None:
        """Start it, and wait for its first answer."""
        options = ["--workers", "1", "--host", "127.0.0.1", "--port", str(self._port)]
        stores = ["--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db"]
        artifacts = ["--artifacts-destination", f"{self._folder}/artifacts"]
        self._folder.mkdir(exist_ok=True)
        with (self._folder / "log").open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *options, *stores, *artifacts],
                cwd=self._folder, env={**os.environ, **CALM}, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        answered = threading.Event()
        while not answered.wait(0.1):
            assert self._process.poll() is None, (self._folder / "log").read_text()
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{self.url}/health")
                answered.set()

    def kill(self) -> None:
        """End it and all its processes at once, in the middle of whatever they do."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


class Proxy:
    """A proxy in front of a server, on a port that stays the same, whose behaviour may be changed at any time.

    The modes: ``pass`` forwards; ``gone`` does not listen; ``hang`` takes requests and never answers; ``cut`` forwards the
    request, so that the server does what it asks, and breaks off in the middle of the answer; a whole HTTP answer, as bytes,
    is given to every request in place of the server's. A change ends the connections that are open.

    Attributes:
        requests: how many connections sent something in the present mode.
        latency: seconds for which every piece of an answer is on its way.
    """

    def __init__(self, target: str, *, latency: float = 0.0) -> None:
        self.latency = latency
        self._host, port = target.removeprefix("http://").split(":")
        self._target_port = int(port)
        self._place = reserved_port()
        self._port = self._place.getsockname()[1]
        self._mode: str | bytes = "gone"
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked = threading.Condition()
        self.requests = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.become("gone")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._place.close()

    def become(self, mode: str | bytes) -> None:
        """Change the mode; when this returns, it holds."""
        asyncio.run_coroutine_threadsafe(self._become(mode), self._loop).result()

    def wait_asked(self) -> None:
        """Wait until something was sent in the present mode; the test's time limit ends the wait."""
        with self._asked:
            self._asked.wait_for(lambda: self.requests > 0)

    async def _become(self, mode: str | bytes) -> None:
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._mode, self._server, self.requests = mode, None, 0
        if mode != "gone":
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._handle(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # either side went away, or the mode has changed
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode == "hang":
            while data := await reader.read(65536):
                self._note(data)
        elif isinstance(self._mode, bytes):
            self._note(await reader.read(65536))
            writer.write(self._mode)
            await writer.drain()
            writer.write_eof()
            while await reader.read(65536):
                """Read what is still on its way, lest the answer be lost with a connection that is reset."""
        else:
            await self._forward(reader, writer, cut=self._mode == "cut")

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, cut: bool) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._host, self._target_port)

        async def there() -> None:
            while data := await reader.read(65536):
                self._note(data)
                far_writer.write(data)
                await far_writer.drain()
            far_writer.write_eof()

        upward = asyncio.create_task(there())
        try:
            while data := await far_reader.read(65536):
                if self.latency:
                    await asyncio.sleep(self.latency)
                if cut:
                    writer.write(data[: len(data) // 2])
                    await writer.drain()
                    return
                writer.write(data)
                await writer.drain()
        finally:
            upward.cancel()
            far_writer.transport.abort()

    def _note(self, data: bytes) -> None:
        if data:
            with self._asked:
                self.requests += 1
                self._asked.notify_all()


def answer(status: str, *headers: str, body: str = "") -> bytes:
    """Return an HTTP answer as bytes, after which the connection ends."""
    lines = [
        f"HTTP/1.1 {status}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return ("\r\n".join([*lines, *headers]) + "\r\n\r\n" + body).encode()


@contextlib.contextmanager
def proxy_to(target: str, mode: str | bytes = "pass") -> Iterator[Proxy]:
    """Return a proxy in front of a server, in a mode."""
    with Proxy(target) as proxy:
        proxy.become(mode)
        yield proxy
