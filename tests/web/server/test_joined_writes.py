"""The head of a response is sent together with its body, or alone if the body is late."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Receive, Scope, Send

from mistk_service.web.server.protocols import JoinedWrites
from tests.support.http_server import served
from tests.web.server.test_connections import get

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"


class Transport(asyncio.Transport):
    """Notes what is done with it."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[bytes | str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.done.append(bytes(data))

    def write_eof(self) -> None:
        self.done.append("write_eof")

    def close(self) -> None:
        self.done.append("close")

    def is_closing(self) -> bool:
        return "close" in self.done


async def test_a_head_and_its_body_are_written_at_once() -> None:
    transport = Transport()
    joined = JoinedWrites(transport, asyncio.get_running_loop())
    joined.write(HEAD)
    joined.write(b"body")
    joined.write(b"more")
    assert transport.done == [HEAD + b"body", b"more"]


@pytest.mark.parametrize("end", ["close", "write_eof"])
async def test_a_head_that_nothing_follows_leaves_before_the_connection_ends(end: str) -> None:
    transport = Transport()
    joined = JoinedWrites(transport, asyncio.get_running_loop())
    joined.write(HEAD)
    getattr(joined, end)()
    assert transport.done == [HEAD, end]


@pytest.mark.parametrize("parser", ["h11", "httptools"])
async def test_the_head_of_a_stream_does_not_wait_for_its_first_part(parser: str) -> None:
    if parser == "httptools":
        pytest.importorskip("httptools")
    read = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await read.wait()
        await send({"type": "http.response.body", "body": b"part"})

    async with served(app, parser) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get("/"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        read.set()
        assert await reader.readexactly(4) == b"part"
        writer.close()
        await writer.wait_closed()
