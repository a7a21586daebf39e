"""The limits of the HTTP server on the size, the speed and the number of requests."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import json
import logging
import ssl
import subprocess
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from mistk_service.web.server import HttpLimits
from tests.support.http_server import served

pytestmark = pytest.mark.anyio

SMALL = HttpLimits(head_bytes=4096, head_lines=20)
#: Soon enough for what is awaited, and never for what is not.
SOON, NEVER = 0.05, 3600.0


@dataclass
class App:
    """Answers with the length of the body; ``/wait`` waits before that until it is let."""

    let: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.set()
        try:
            body = await Request(scope, receive).body()
        except ClientDisconnect:
            self.left.set()
            return
        if scope["path"] == "/wait":
            await self.let.wait()
        await JSONResponse({"read": len(body), "headers": len(scope["headers"])})(scope, receive, send)


class Client:
    """A connection that sends bytes as they are."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, *parts: bytes) -> None:
        # Not writelines, which loses the end of the connection after an empty part in Python 3.13.
        self.writer.write(b"".join(parts))

    async def answer(self) -> tuple[int, dict]:
        """Return status and body of the next answer."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        body = await self.reader.readexactly(int(length.split(b":")[1]))
        return int(head.split()[1]), json.loads(body)

    async def end(self) -> bytes:
        """Return what comes until the server ends the connection."""
        return await self.reader.read()


@asynccontextmanager
async def connected(port: int, context: ssl.SSLContext | None = None) -> AsyncIterator[Client]:
    client = Client(*await asyncio.open_connection("127.0.0.1", port, ssl=context))
    try:
        yield client
    finally:
        transport = client.writer.transport
        if not transport.is_closing() and transport.get_write_buffer_size():
            transport.abort()
        client.writer.close()
        with contextlib.suppress(OSError):
            await client.writer.wait_closed()


def get(path: str = "/", *headers: bytes) -> bytes:
    return b"\r\n".join([b"GET %s HTTP/1.1" % path.encode(), b"Host: a", *headers, b"", b""])


def post(size: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size


CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

TOO_LARGE = {
    "a long header": get("/", b"X: " + b"x" * 5000),
    "a long target": get("/" + "x" * 5000),
    "many headers": get("/", *[b"X: x"] * 30),
    "a header that does not end": get()[:-2] + b"X: " + b"x" * 600_000,
    "a target that does not end": b"GET /" + b"x" * 600_000,
    "headers that do not end": get()[:-2] + b"X: x\r\n" * 100_000,
    "many trailers": CHUNKED + b"1\r\nx\r\n0\r\n" + b"X: x\r\n" * 100_000,
    "a trailer that does not end": CHUNKED + b"1\r\nx\r\n0\r\nX: " + b"x" * 600_000,
    "the line of a chunk that does not end": CHUNKED + b"1;" + b"x" * 600_000,
}


@pytest.mark.parametrize("request_", TOO_LARGE.values(), ids=TOO_LARGE)
async def test_a_head_beyond_the_limits_is_refused_and_ends_the_connection(request_: bytes) -> None:
    async with served(App(), SMALL) as port, connected(port) as client:
        client.send(request_)
        status, error = await client.answer()
        assert (status, error["code"]) == (431, 431)
        assert "4096 bytes and 20 headers" in error["message"]
        assert await client.end() == b""


@pytest.mark.parametrize("before", [get(), post(3) + b"abc", get("/wait")], ids=["a GET", "a POST", "one in work"])
async def test_a_further_request_is_held_to_the_limits_too(before: bytes) -> None:
    app = App()
    async with served(app, SMALL) as port, connected(port) as client:
        client.send(before + get("/", *[b"X: x"] * 30))
        app.let.set()
        answers = await client.end()
        assert b"431" in answers
        assert answers.count(b"HTTP/1.1") <= 2


async def test_a_head_within_the_limits_is_served_in_any_pieces() -> None:
    request = get("/", *[b"X-%d: %s" % (i, b"x" * 150) for i in range(19)])
    async with served(App(), SMALL) as port, connected(port) as client:
        for byte in (request[i : i + 1] for i in range(len(request))):
            client.send(byte)
            await client.writer.drain()
        assert await client.answer() == (200, {"read": 0, "headers": 20})


async def test_a_large_body_is_not_a_large_head() -> None:
    async with served(App(), SMALL) as port, connected(port) as client:
        for _ in range(2):
            client.send(post(3_000_000), b"\n" * 3_000_000)
            assert await client.answer() == (200, {"read": 3_000_000, "headers": 2})
            client.send(CHUNKED, b"186a0\r\n" + b"\n" * 100_000 + b"\r\n", b"0\r\nX: x\r\n\r\n")
            status, answer = await client.answer()
            assert (status, answer["read"]) == (200, 100_000)


async def test_a_body_is_read_although_its_request_offers_another_protocol() -> None:
    # As Java's HttpClient does by default; the offer counts only in the head.
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAI\r\n\r\n"
    body = b"\r\nUpgrade: h2c\r\n"
    async with served(App(), SMALL) as port, connected(port) as client:
        for _ in range(2):
            client.send(post(len(body))[:-2] + offer, body)
            assert await client.answer() == (200, {"read": len(body), "headers": 5})


async def test_requests_that_are_sent_ahead_are_answered_in_order_up_to_a_number() -> None:
    async with served(App(), dataclasses.replace(SMALL, pipelined=50)) as port:
        async with connected(port) as client:
            client.send(*(get("/", *[b"X: x"] * n) for n in range(10)))
            assert [(await client.answer())[1]["headers"] for _ in range(10)] == list(range(1, 11))
        async with connected(port) as client:
            client.send(get() * 1000)
            assert (await client.answer())[0] == 400


async def test_half_a_request_is_answered_after_a_while_that_it_is_late() -> None:
    limits = HttpLimits(head_timeout=SOON)
    async with served(App(), limits) as port, connected(port) as client:
        client.send(get()[:-2])
        status, error = await client.answer()
        assert (status, error["code"]) == (408, 408)
        assert await client.end() == b""


async def test_half_of_a_further_request_is_late_too() -> None:
    limits = HttpLimits(head_timeout=SOON)
    async with served(App(), limits) as port, connected(port) as client:
        client.send(get())
        assert (await client.answer())[0] == 200
        client.send(get()[:-2])
        assert (await client.answer())[0] == 408


async def test_a_silent_connection_is_closed_and_one_that_waits_for_its_answer_or_between_requests_is_not() -> None:
    app = App()
    limits = HttpLimits(head_timeout=SOON, body_timeout=SOON, keep_alive=NEVER)
    async with served(app, limits) as port, connected(port) as client, connected(port) as waiting:
        client.send(get())
        waiting.send(post(3).replace(b"/", b"/wait", 1) + b"abc")
        assert (await client.answer())[0] == 200
        async with connected(port) as silent:
            assert await silent.end() == b""
        client.send(get())
        app.let.set()
        assert (await client.answer())[0] == 200
        assert (await waiting.answer())[0] == 200


async def test_a_connection_is_kept_for_as_long_as_is_said() -> None:
    async with served(App(), HttpLimits(keep_alive=SOON)) as port, connected(port) as client:
        client.send(get())
        assert (await client.answer())[0] == 200
        assert await client.end() == b""


async def early(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers before it has the body."""
    await JSONResponse({})(scope, receive, send)


async def test_a_connection_is_kept_after_a_body_that_came_later_than_its_answer() -> None:
    limits = HttpLimits(head_timeout=SOON, keep_alive=NEVER)
    async with served(early, limits) as port, connected(port) as client:
        for _ in range(2):
            client.send(post(3))
            assert await client.answer() == (200, {})
            client.send(b"abc")
            async with connected(port) as silent:
                assert await silent.end() == b""
    limits = HttpLimits(head_timeout=NEVER, keep_alive=SOON)
    async with served(early, limits) as port, connected(port) as client:
        client.send(post(3))
        assert await client.answer() == (200, {})
        client.send(b"abc")
        assert await client.end() == b""


@pytest.mark.parametrize(("head", "rest"), [(CHUNKED, b"no chunk"), (post(3), b"")], ids=["invalid", "late"])
async def test_a_request_is_not_answered_twice_although_its_body_is_refused(head: bytes, rest: bytes) -> None:
    async with served(early, HttpLimits(body_timeout=SOON)) as port, connected(port) as client:
        client.send(head)
        assert await client.answer() == (200, {})
        client.send(rest)
        assert await client.end() == b""


async def test_a_client_can_read_its_last_answer_while_it_sends_the_body() -> None:
    async with served(early) as port, connected(port) as client:
        client.send(post(3_000_000)[:-2] + b"Connection: close\r\n\r\n")
        assert await client.answer() == (200, {})
        client.send(b"x" * 3_000_000)
        await client.writer.drain()
        assert await client.end() == b""


async def test_nothing_is_answered_after_the_last_answer_although_it_was_sent_ahead() -> None:
    answered: list[str] = []

    async def last(scope: Scope, receive: Receive, send: Send) -> None:
        answered.append(scope["method"])
        await JSONResponse({}, headers={"Connection": "close"})(scope, receive, send)

    async with served(last) as port, connected(port) as client:
        client.send(get(), post(3), b"a")
        assert await client.answer() == (200, {})
        client.send(b"bc")
        assert await client.end() == b""
    assert answered == ["GET"]


async def test_a_connection_with_a_body_on_its_way_is_not_idle_although_it_has_been_answered() -> None:
    async with served(early, HttpLimits(connections=2)) as port, connected(port) as first, connected(port) as second:
        for client, request in ((first, post(3)), (second, get())):
            client.send(request)
            assert await client.answer() == (200, {})
        async with connected(port) as further:
            assert await second.end() == b""
            first.send(b"abc", get())
            further.send(get())
            for client in (first, further):
                assert await client.answer() == (200, {})


@pytest.mark.parametrize("sent", [post(1000), post(1000) + b"x", CHUNKED, CHUNKED + b"5\r\nabc"])
async def test_a_body_that_makes_no_progress_is_given_up(sent: bytes) -> None:
    app = App()
    async with served(app, HttpLimits(body_timeout=SOON)) as port, connected(port) as client:
        client.send(sent)
        status, error = await client.answer()
        assert (status, error["code"]) == (408, 408)
        assert await client.end() == b""
        await app.left.wait()


async def test_a_body_that_the_service_does_not_read_for_a_while_is_not_late() -> None:
    let = asyncio.Event()

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await let.wait()
        await App()(scope, receive, send)

    # The service resumes just as the time for the body has passed again.
    limits = HttpLimits(head_timeout=40 * SOON, body_timeout=20 * SOON, keep_alive=NEVER)
    async with served(late, limits) as port, connected(port) as client, connected(port) as silent:
        client.send(post(3_000_000), b"x" * 1_000_000)
        assert await silent.end() == b""
        client.send(b"x" * 2_000_000)
        let.set()
        assert await client.answer() == (200, {"read": 3_000_000, "headers": 2})


async def test_one_connection_too_many_takes_the_place_of_the_one_that_has_been_idle_for_longest() -> None:
    async with (
        served(App(), HttpLimits(connections=3)) as port,
        connected(port) as first,
        connected(port) as second,
        connected(port) as third,
    ):
        for client in (first, second, third, first):
            client.send(get())
            assert (await client.answer())[0] == 200
        async with connected(port) as further:
            further.send(get())
            assert (await further.answer())[0] == 200
        assert await second.end() == b""
        for client in (first, third):
            client.send(get())
            assert (await client.answer())[0] == 200


async def test_where_no_connection_is_idle_one_too_many_is_refused() -> None:
    app = App()
    async with served(app, HttpLimits(connections=1)) as port, connected(port) as client:
        client.send(get("/wait"))
        await app.asked.wait()
        async with connected(port) as further:
            status, error = await further.answer()
            assert (status, error["code"]) == (503, 503)
            assert await further.end() == b""
        app.let.set()
        assert (await client.answer())[0] == 200


async def test_a_client_that_does_not_take_its_answer_is_let_go() -> None:
    gone = asyncio.Event()

    async def much(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1000):
            await send({"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True})
        gone.set()

    limits = HttpLimits(send_timeout=SOON)
    async with served(much, limits) as port, connected(port) as client:
        transport = client.writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        client.send(get())
        await gone.wait()


async def test_what_is_not_http_is_answered_with_an_error_of_the_service() -> None:
    async with served(App()) as port, connected(port) as client:
        client.send(b"\x16\x03\x01 what a TLS client sends\r\n\r\n")
        status, error = await client.answer()
        assert (status, error["code"]) == (400, 400)
        assert await client.end() == b""


@pytest.fixture
def certificate(tmp_path: Path) -> str:
    """The file of a certificate, beside its key in ``key.pem``."""
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True, timeout=60)
    return str(tmp_path / "cert.pem")


async def test_a_request_is_refused_over_tls_too(certificate: str, caplog: pytest.LogCaptureFixture) -> None:
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    tls = {"ssl_certfile": certificate, "ssl_keyfile": certificate.replace("cert", "key")}
    async with served(App(), SMALL, **tls) as port, connected(port, context) as client:
        client.send(get("/", b"X: " + b"x" * 5000))
        status, error = await client.answer()
        assert (status, error["code"]) == (431, 431)
        assert await client.end() == b""
    assert [each.message for each in caplog.records if each.levelno > logging.INFO] == []


class Knot:
    """Refers to itself, so that only the garbage collector frees it."""

    def __init__(self) -> None:
        self.itself = self


async def test_what_many_connections_leave_behind_is_collected_when_they_have_gone() -> None:
    loop, collected = asyncio.get_running_loop(), asyncio.Event()

    async def leaving(scope: Scope, receive: Receive, send: Send) -> None:
        weakref.finalize(Knot(), loop.call_soon_threadsafe, collected.set).atexit = False
        await App()(scope, receive, send)

    gc.disable()  # the collector by itself may take any time
    try:
        async with served(leaving) as port:
            for _ in range(2000):
                async with connected(port) as client:
                    client.send(get("/", b"Connection: close"))
                    await client.end()
            await collected.wait()
    finally:
        gc.collect()  # the rest, while there is an event loop to tell
        gc.enable()
