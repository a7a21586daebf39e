"""Remote tracking servers for the tests: MLflow's own as a process, and a proxy that does to any server what networks do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Self

import httpx

from tests.support.preloaded import CALM, Forked, starter

#: A database of MLflow's server as it is made at its first question, which takes seconds; empty until one was made.
_fresh = bytearray()

#: What a client sends first; its own call, so that it stands at the beginning of a piece.
_REQUEST_LINE = re.compile(rb"[A-Z]+ /\S* HTTP/1\.1(?=\r\n)")


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
    """A real server of MLflow, with its database and artifacts in a folder, that can be killed and started again.

    It is the process that ``mlflow server`` starts, in which everything has been loaded. That itself would be another one.

    Args:
        folder: the folder.
        artifacts: where its artifacts are instead, as a URI.
        environment: further variables.

    Attributes:
        url: where it listens, started or not.
    """

    def __init__(
        self, folder: Path, artifacts: str | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self._folder = folder
        self._place = reserved_port()
        self._port = self._place.getsockname()[1]
        self._artifacts = artifacts or f"{folder}/artifacts"
        self._environment = environment or {}
        self._process: Forked | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()
        self._place.close()

    def start(self) -> None:
        """Start it, and wait for its first answer."""
        options = ["--host", "127.0.0.1", "--port", str(self._port), "--log-level", "warning"]
        self._folder.mkdir(exist_ok=True)
        database = self._folder / "mlflow.db"
        is_new = not database.exists()
        if is_new and _fresh:
            database.write_bytes(_fresh)
        settings = {  # as `mlflow server` gives them to it
            "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{database}",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": self._artifacts,
            "_MLFLOW_SGI_NAME": "uvicorn",
        }
        with (self._folder / "log").open("a") as log:
            self._process = starter("mlflow").start(
                "-m", "uvicorn", *options, "mlflow.server.fastapi_app:app",
                cwd=self._folder, env={**os.environ, **CALM, **settings, **self._environment},
                stdout=log.fileno(), stderr=log.fileno(),
            )  # fmt: skip
        answered = threading.Event()
        with httpx.Client(base_url=self.url, timeout=60) as http:
            while not answered.wait(0.1):
                assert self._process.poll() is None, (self._folder / "log").read_text()
                with contextlib.suppress(httpx.TransportError):
                    # The database is made at the first question that it has to answer.
                    http.get("/api/2.0/mlflow/experiments/get", params={"experiment_id": "0"}).raise_for_status()
                    answered.set()
        if is_new and not _fresh:
            with contextlib.closing(sqlite3.connect(database)) as connection:
                _fresh[:] = connection.serialize()

    def kill(self) -> None:
        """End it at once, in the middle of whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Proxy:
    """A proxy in front of a server, on a port that stays the same, whose behaviour may be changed at any time.

    The modes: ``pass`` forwards; ``gone`` does not listen; ``hang`` takes requests and never answers; ``cut`` forwards the
    request, so that the server does what it asks, and breaks off in the middle of the answer; a whole HTTP answer, as bytes,
    is given to every request in place of the server's. A change ends the connections that are open.

    Attributes:
        requests: how many connections sent something in the present mode.
        lines: the first line of each request that came in the mode ``pass``.
        treat: gives the mode for a single request of these, by its first line; None leaves it as it is.
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
        self.lines: list[str] = []
        self.treat: Callable[[str], str | bytes | None] = lambda line: None
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

    def wait_line(self, part: str) -> None:
        """Wait until a request came with a text in its first line; the test's time limit ends the wait."""
        with self._asked:
            self._asked.wait_for(lambda: any(part in line for line in self.lines))

    async def _become(self, mode: str | bytes) -> None:
        if self._server is not None:
            self._server.close()
        # A connection that has just been accepted gets its task in a later turn of the loop. That task closes it, once begun.
        while asyncio.all_tasks() != {asyncio.current_task()}:
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.sleep(0)
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
        if self._mode == "hang" or isinstance(self._mode, bytes):
            self._note(await reader.read(65536))
            await self._answer(self._mode, reader, writer)
        else:
            await self._forward(reader, writer, cut=self._mode == "cut")

    async def _answer(self, mode: str | bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Give an answer that the server knows nothing of, or none."""
        if isinstance(mode, bytes):
            writer.write(mode)
            await writer.drain()
            writer.write_eof()
        while data := await reader.read(65536):
            # What is still on its way is read, lest the answer be lost with a connection that is reset.
            if mode == "hang":
                self._note(data)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, cut: bool) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._host, self._target_port)

        async def there() -> None:
            nonlocal cut
            while data := await reader.read(65536):
                self._note(data)
                mode = self._treatment(data)
                if mode == "cut":
                    cut = True
                elif mode is not None:
                    await self._answer(mode, reader, writer)
                    break
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

    def _treatment(self, data: bytes) -> str | bytes | None:
        """Return the mode for the request that begins with a piece, if one does."""
        line = _REQUEST_LINE.match(data)
        if line is None:
            return None
        text = line[0].decode()
        with self._asked:
            self.lines.append(text)
            self._asked.notify_all()
        return self.treat(text)

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
