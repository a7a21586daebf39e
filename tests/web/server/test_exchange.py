"""Responses: what is sent together, what is sent at once, and what is no response."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.server import ServerState

from mistk_service.web.server import HttpLimits, server_config
from mistk_service.web.server.connection import HttpConnection
from mistk_service.web.server.exchange import Exchange
from tests.support.http_server import refusal, served
from tests.web.server.test_connections import CHUNKED, SOON, connected, get, post

pytestmark = pytest.mark.anyio

CHUNKS: list[tuple[bytes, bytes]] = []
LIMITS = HttpLimits(send_timeout=SOON, keep_alive=SOON)
FOUR = [(b"content-length", b"4")]


def start(headers: list[tuple[bytes, bytes]] = FOUR, status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(data: bytes = b"", *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def sending(*messages: Message) -> ASGIApp:
    """An application that sends messages."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


class Transport(asyncio.Transport):
    """Notes what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.unsent = 0
        self.closed = False
        self.aborted = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.aborted.set()

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return self.unsent


def unconnected(app: ASGIApp, state: ServerState, limits: HttpLimits | None = None) -> HttpConnection:
    """Return what the server makes for each connection."""
    config = server_config(app, limits or HttpLimits(), refusal, lifespan="off")
    config.load()
    return HttpConnection(config, state, {})


async def written(app: ASGIApp, *pieces: bytes) -> list[bytes]:
    """Return what the responses to requests are written in. They arrive in pieces."""
    state, transport = ServerState(), Transport()
    connection = unconnected(app, state)
    connection.connection_made(transport)
    for piece in pieces or [get()]:
        connection.data_received(piece)
    await asyncio.gather(*state.tasks)
    connection.connection_lost(None)
    return transport.written


async def test_a_head_and_its_body_are_written_at_once() -> None:
    assert await written(sending(start(), body(b"body"))) == [b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody"]


async def test_the_first_chunk_is_written_with_the_head_and_the_last_with_the_end() -> None:
    assert await written(sending(start(CHUNKS), body(b"first", more=True), body(b"last"))) == [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n",
        b"4\r\nlast\r\n0\r\n\r\n",
    ]


async def test_a_client_of_http_1_0_gets_no_chunks_and_reads_until_the_end() -> None:
    async with served(sending(start(CHUNKS), body(b"first", more=True), body(b"last"))) as port:
        async with connected(port) as client:
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            assert await client.end() == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nfirstlast"


@pytest.mark.parametrize(
    ("request_", "status", "headers"),
    [(get().replace(b"GET", b"HEAD"), 200, FOUR), (get(), 204, []), (get(), 304, [])],
    ids=["HEAD", "204", "304"],
)
async def test_what_has_no_body_ends_with_its_head(request_: bytes, status: int, headers: list[Any]) -> None:
    (answer,) = await written(sending(start(headers, status), body(b"" if headers == [] else b"body")), request_)
    assert answer.endswith(b"\r\n\r\n")
    assert b"chunked" not in answer


async def test_the_head_of_a_stream_does_not_wait_for_its_first_part() -> None:
    read = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(CHUNKS))
        await read.wait()
        await send(body(b"part"))

    async with served(app) as port, connected(port) as client:
        client.send(get("/", b"Connection: close"))
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        read.set()
        assert await client.end() == b"4\r\npart\r\n0\r\n\r\n"


async def test_a_client_that_waits_for_100_continue_is_told_when_its_body_is_read() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        received = await receive()
        await sending(start(), body(received["body"]))(scope, receive, send)

    async with served(app) as port, connected(port) as client:
        client.send(post(4)[:-2] + b"Expect: 100-continue\r\n\r\n")
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"body")
        assert (await client.reader.readuntil(b"body")).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_client_whose_request_is_refused_is_not_asked_for_its_body(caplog: pytest.LogCaptureFixture) -> None:
    received: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        received.append((await receive())["type"])

    async with served(app) as port, connected(port) as client:
        client.send(CHUNKED[:-2] + b"Expect: 100-continue\r\n\r\nno chunk\r\n")
        assert (await client.answer())[0] == 400
        assert await client.end() == b""
    assert received == ["http.disconnect"]
    assert [each.message for each in caplog.records if each.levelno > logging.INFO] == []


BROKEN = {
    "nothing": [],
    "a body first": [body(b"body")],
    "a head only": [start()],
    "two heads": [start(), start()],
    "a line break in a header": [start([(b"x", b"a\r\nset-cookie: b")]), body()],
    "too long a body": [start(), body(b"body and more")],
}


@pytest.mark.parametrize("messages", BROKEN.values(), ids=BROKEN)
async def test_an_application_that_sends_no_response_fails_for_the_client_and_in_the_log(
    messages: list[Message], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        async with served(sending(*messages)) as port, connected(port) as client:
            client.send(get())
            answer = await client.end()
    assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert answer.endswith(b"\r\n\r\nInternal Server Error")
    assert "ASGI application" in caplog.text


@pytest.mark.parametrize("headers", [[], [b"Connection: close"]], ids=["kept", "closed"])
async def test_a_client_that_does_not_take_the_end_of_its_answer_is_let_go(headers: list[bytes]) -> None:
    """A connection is closed only once everything has been sent."""
    connection, transport = unconnected(sending(start(), body(b"body")), ServerState(), LIMITS), Transport()
    transport.unsent = 1
    connection.connection_made(transport)
    connection.data_received(get("/", *headers))
    await transport.aborted.wait()
    assert transport.closed
    connection.connection_lost(None)


async def test_a_client_is_let_go_although_it_has_taken_most_of_its_last_answer() -> None:
    connection, transport = unconnected(sending(start(), body(b"body")), ServerState(), LIMITS), Transport()
    transport.unsent = 1
    connection.connection_made(transport)
    connection.pause_writing()
    transport.close()
    connection.resume_writing()
    await transport.aborted.wait()
    connection.connection_lost(None)


async def test_a_request_that_arrives_as_the_connection_is_closed_is_not_begun() -> None:
    state = ServerState()
    connection = unconnected(sending(start(), body(b"body")), state)
    connection.connection_made(Transport())
    connection.shutdown()
    connection.data_received(get())
    assert state.tasks == set()
    connection.connection_lost(None)


CUT = {
    "too short a body": [start(), body(b"b")],
    "a body that does not end": [start(), body(b"b", more=True)],
    "too long a body at its end": [start(), body(b"b", more=True), body(b"ody and more")],
}


@pytest.mark.parametrize("messages", CUT.values(), ids=CUT)
async def test_a_response_that_has_begun_is_cut_off_where_its_application_fails(messages: list[Message]) -> None:
    async with served(sending(*messages)) as port, connected(port) as client:
        client.send(get())
        assert await client.end() == b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nb"


async def test_a_message_after_the_response_is_an_error_and_the_connection_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with served(sending(start(), body(b"body"), body(b"more"))) as port, connected(port) as client:
        client.send(get())
        assert (await client.end()).endswith(b"\r\n\r\nbody")
    assert "out of order" in caplog.text


async def test_every_request_that_is_sent_ahead_learns_that_the_client_has_gone() -> None:
    """The one that is answered is not the last one that was received."""
    began, gone = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        began.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    async with served(app) as port:
        async with connected(port) as client:
            client.send(get(), get())
            await began.wait()
        await gone.wait()


def when_freed() -> list[asyncio.Event]:
    """Return an event for each request and connection that there is, which is set when it is freed."""
    events = []
    for each in gc.get_objects():
        if isinstance(each, Exchange | HttpConnection):
            events.append(asyncio.Event())
            weakref.finalize(each, events[-1].set)
    return events


async def test_requests_and_connections_are_freed_without_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        async with served(sending(start(), body(b"body"))) as port, connected(port) as client:
            for _ in range(5):
                client.send(post(4), b"data")
                await client.reader.readuntil(b"\r\n\r\nbody")
            freed = when_freed()
            assert len(freed) == 2, "the connection, and its last request"
            client.writer.close()
            for event in freed:
                await event.wait()
    finally:
        gc.enable()


@pytest.mark.parametrize("end", [b"", b"not HTTP\r\n\r\n"], ids=["client gone", "refused"])
async def test_requests_that_were_sent_ahead_and_never_answered_are_freed_too(end: bytes) -> None:
    began = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        began.set()
        await receive()  # it is complete: the client has gone, or was refused
        await receive()

    gc.collect()
    gc.disable()
    try:
        async with served(app) as port, connected(port) as client:
            client.send(get() * 3)
            await began.wait()
            freed = when_freed()
            assert len(freed) == 4, "the connection, and its requests"
            client.send(end)
            client.writer.write_eof()
            for event in freed:
                await event.wait()
    finally:
        gc.enable()


async def test_a_connection_whose_tls_fails_leaves_nothing_behind() -> None:
    """The loop drops it without having told it anything."""
    gc.disable()
    try:
        freed = weakref.ref(unconnected(sending(), ServerState()))
        assert freed() is None
    finally:
        gc.enable()
