"""Work for a client that has gone is cancelled at once, and leaves no garbage."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from mistk_service.errors import ClientGone
from mistk_service.web.disconnect import unless_disconnected
from tests.support.http_server import served
from tests.web.server.test_connections import connected, get
from tests.web.server.test_exchange import Transport, unconnected


class Waiting:
    """An application that waits for an answer."""

    def __init__(self) -> None:
        self.began, self.ended = asyncio.Event(), asyncio.Event()
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.raised: type[BaseException] | None = None
        self.freed: weakref.ref[Waiting] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        of_request = Waiting()
        self.freed = weakref.ref(of_request)
        self.began.set()
        try:
            body = await unless_disconnected(scope, self.answer)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body})
        except (ClientGone, asyncio.CancelledError) as error:
            self.raised = type(error)
        finally:
            self.ended.set()


@pytest.mark.anyio
@pytest.mark.parametrize("requests", [1, 2], ids=["one request", "one more, sent ahead"])
async def test_an_answer_is_cancelled_when_its_client_disconnects(requests: int) -> None:
    app = Waiting()
    async with served(app) as port:
        async with connected(port) as client:
            client.send(get() * requests)
            await app.began.wait()
        await app.ended.wait()
    assert app.answer.cancelled()
    assert app.raised is ClientGone


@pytest.mark.anyio
async def test_work_that_begins_when_its_client_has_gone_can_clean_up() -> None:
    cleaned, raised = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    async def app(scope: Scope, receive: Receive, _send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        try:
            await unless_disconnected(scope, asyncio.ensure_future(work()))
        except ClientGone:
            raised.set()

    async with served(app) as port:
        async with connected(port) as client:
            client.send(get())
        await raised.wait()
    assert cleaned.is_set()


@pytest.mark.anyio
async def test_a_client_that_leaves_as_its_request_is_refused_has_gone() -> None:
    app = Waiting()
    connection = unconnected(app, ServerState())
    connection.connection_made(Transport())
    connection.data_received(get())
    await app.began.wait()
    connection.data_received(b"not HTTP\r\n\r\n")
    connection.connection_lost(None)
    await app.ended.wait()
    assert app.raised is ClientGone


@pytest.mark.anyio
async def test_an_answer_that_is_cancelled_otherwise_does_not_look_like_a_client_that_has_gone() -> None:
    app = Waiting()
    async with served(app) as port, connected(port) as client:
        client.send(get())
        await app.began.wait()
        app.answer.cancel()
        await app.ended.wait()
    assert app.raised is asyncio.CancelledError


@pytest.mark.anyio
async def test_an_answer_is_sent_to_a_client_that_waits_for_it() -> None:
    app = Waiting()
    async with served(app) as port, connected(port) as client:
        client.send(get("/", b"Connection: close"))
        await app.began.wait()
        app.answer.set_result(b"answer")
        assert b"answer" in await client.end()


@pytest.mark.anyio
@pytest.mark.parametrize("leaves", [False, True], ids=["answered", "client gone"])
async def test_a_request_is_freed_without_the_collector(leaves: bool) -> None:
    app = Waiting()
    gc.collect()
    gc.disable()
    try:
        async with served(app) as port:
            async with connected(port) as client:
                client.send(get("/", b"Connection: close"))
                await app.began.wait()
                if not leaves:
                    app.answer.set_result(b"answer")
                    await client.end()
            await app.ended.wait()
            await asyncio.sleep(0)
            assert app.freed is not None
            assert app.freed() is None
    finally:
        gc.enable()
