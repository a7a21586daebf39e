"""Connections to a service: blocking ones, and those of an event loop, behind the same coroutines."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from typing import Any, Protocol

import httpx


class Connections(Protocol):
    """The HTTP functions that the clients need. ``options`` are those of :meth:`httpx.Client.request`."""

    def now(self) -> float:
        """Return the time in seconds, from any point."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    async def request(self, method: str, url: httpx.URL, **options: Any) -> httpx.Response:
        """Return the response to a request, read."""

    def stream(
        self, url: httpx.URL, seconds: float | None, *, method: str = "GET", **options: Any
    ) -> AbstractAsyncContextManager[tuple[httpx.Response, AsyncIterator[bytes]]]:
        """Open a response that is read in parts.

        The parts end after ``seconds``, with an error of httpx or a TimeoutError. A response that is an error is read.
        """

    async def close(self) -> None:
        """Close the connections."""


class BlockingConnections(Connections):
    """Connections whose coroutines never suspend; see :mod:`mistk_service.client.dual`."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - that is what a blocking client wants

    async def request(self, method: str, url: httpx.URL, **options: Any) -> httpx.Response:
        return self._http.request(method, url, **options)

    @asynccontextmanager
    async def stream(
        self, url: httpx.URL, seconds: float | None, *, method: str = "GET", **options: Any
    ) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[bytes]]]:
        with self._http.stream(method, url, **options) as response:
            if response.status_code != 200:
                response.read()
            with _cut_off_after(response, seconds):
                yield response, _parts(response)

    async def close(self) -> None:
        self._http.close()


class AsyncConnections(Connections):
    """Connections of an event loop."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def request(self, method: str, url: httpx.URL, **options: Any) -> httpx.Response:
        return await self._http.request(method, url, **options)

    @asynccontextmanager
    async def stream(
        self, url: httpx.URL, seconds: float | None, *, method: str = "GET", **options: Any
    ) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[bytes]]]:
        end = None if seconds is None else asyncio.get_running_loop().time() + seconds
        async with self._http.stream(method, url, **options) as response:
            if response.status_code != 200:
                await response.aread()
            yield response, _parts_until(response, end)

    async def close(self) -> None:
        await self._http.aclose()


async def _parts(response: httpx.Response) -> AsyncIterator[bytes]:
    for part in response.iter_bytes():
        yield part


async def _parts_until(response: httpx.Response, end: float | None) -> AsyncIterator[bytes]:
    """Yield the parts. Only the reading is limited: between two parts, the caller's own code runs."""
    parts = response.aiter_bytes()
    while True:
        async with asyncio.timeout_at(end):
            try:
                part = await anext(parts)
            except StopAsyncIteration:
                return
        yield part


@contextmanager
def _cut_off_after(response: httpx.Response, seconds: float | None) -> Iterator[None]:
    """Close the response's connection after some seconds.

    httpx can only limit the time between bytes, and keep-alives are bytes. Without a socket, the connection stays open; then
    the deadline takes effect when the next bytes arrive.
    """
    stream = response.extensions.get("network_stream")
    sock = stream.get_extra_info("socket") if stream is not None else None
    if seconds is None or sock is None:
        yield
        return

    def cut() -> None:
        # OSError: it is closed already. Not sock.shutdown, which removes the encryption from an SSL socket that is being read.
        with suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        # Afterwards the connection may serve another request, and must not be closed any more.
        timer.join()
