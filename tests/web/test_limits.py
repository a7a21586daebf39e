"""The limit on bodies holds however a client frames them."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from mistk_service.web.limits import BodyLimit
from tests.web.harness import served

LIMIT = 100


async def measure(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that says how long a body was, and what was announced."""
    request = Request(scope, receive)
    answer = {
        "read": len(await request.body()),
        "announced": request.headers.getlist("content-length"),
        "coding": request.headers.get("transfer-encoding"),
    }
    await JSONResponse(answer)(scope, receive, send)


async def ask(headers: list[tuple[bytes, bytes]], *parts: bytes) -> tuple[int, dict]:
    """Return status and body of the answer to a request that comes in these parts."""
    messages: list[Message] = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages[-1]["more_body"] = False
    sent: list[Message] = []
    coming = iter(messages)

    async def receive() -> Message:
        return next(coming)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    await BodyLimit(measure, LIMIT)(scope, receive, send)
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent[1:]))


BOTH = [(b"content-length", b"10"), (b"transfer-encoding", b"chunked")]


@pytest.mark.anyio
@pytest.mark.parametrize("headers", [BOTH, BOTH[::-1], BOTH[1:]], ids=["length first", "chunked first", "chunked"])
async def test_chunks_are_measured_whatever_length_is_announced_beside_them(headers: list) -> None:
    status, error = await ask(headers, b"x" * LIMIT, b"x")
    assert (status, error["code"]) == (413, 413)
    status, answer = await ask(headers, b"x" * 40, b"x" * 60)
    assert (status, answer) == (200, {"read": LIMIT, "announced": [str(LIMIT)], "coding": None})


@pytest.mark.anyio
@pytest.mark.parametrize("parser", ["h11", "httptools"])
async def test_a_body_framed_twice_does_not_pass_the_limit_of_a_real_server(parser: str) -> None:
    if parser == "httptools":
        pytest.importorskip("httptools")
    async with served(BodyLimit(measure, LIMIT), parser) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (10 * LIMIT, b"x" * 10 * LIMIT))
        status = (await reader.readline()).split()[1]
        writer.close()
    # httptools' parser takes no such request at all.
    assert status == {"h11": b"413", "httptools": b"400"}[parser]
