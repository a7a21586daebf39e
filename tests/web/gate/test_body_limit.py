"""The limit on bodies holds for every framing."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from mistk_service.doors.mistk.problems import answer
from mistk_service.web.gate import BodyLimit
from tests.support.http_server import served
from tests.web.harness import API, application, client

LIMIT = 100
JSON = {"Content-Type": "application/json"}


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
    await BodyLimit(measure, LIMIT, answer)(scope, receive, send)
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
async def test_a_body_framed_twice_does_not_pass_the_limit_of_a_real_server() -> None:
    async with served(BodyLimit(measure, LIMIT, answer)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (10 * LIMIT, b"x" * 10 * LIMIT))
        status = (await reader.readline()).split()[1]
        writer.close()
    assert status == b"400", "the parser takes no such request at all"


OPERATIONS = ["initialize", "loadData", "updateStreamProperties"]


@pytest.mark.anyio
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_free_json_has_a_megabyte_and_records_have_what_max_body_says(operation: str) -> None:
    large = json.dumps({"a": "A" * 1024 * 1024}).encode()
    async with client(application()) as http:
        answer = await http.post(f"{API}/{operation}", content=large, headers=JSON)
        assert answer.status_code == 413
        assert "1048576 bytes" in answer.json()["message"]
        taken = await http.post(f"{API}/streamPredict", content=large, headers=JSON)
        assert "streamPredict" in taken.json()["message"], "it was refused by the state and not for its size"


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [*OPERATIONS, "streamPredict"])
@pytest.mark.parametrize(
    "value",
    ["[" + "[]," * 250_000 + "[]]", "[" * 400_000, '{"b":' * 150_000, "[" + "1," * 400_000 + "1]"],
    ids=["containers", "arrays in one another", "objects in one another", "numbers"],
)
async def test_what_would_take_many_times_its_size_is_refused_before_it_is_decoded(operation: str, value: str) -> None:
    async with client(application()) as http:
        answer = await http.post(f"{API}/{operation}", content=f'{{"a":{value}}}'.encode(), headers=JSON)
    assert answer.status_code == 400
    assert any(word in answer.json()["message"] for word in ("more than", "nested too deeply", "Expected `str`"))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{" + b",".join(b'"%d":"AAAA"' % n for n in range(100_001)) + b"}", "more than 100000 records"),
        (b'{"a":"' + b"\\n" * 2_000_001 + b'"}', "more than 2000000 escaped characters"),
        (b'{"a":"' + b"AAAA" * 30_000 + b'","b":"", "b":""}', "twice"),
        (b'{"a":"' + b"AAAA" * 30_000 + b'","b":[]}', "Expected `str`, got `array`"),
    ],
    ids=["records", "escapes", "a name twice", "no text"],
)
async def test_a_large_body_that_holds_something_else_than_so_many_records_is_refused(body: bytes, reason: str) -> None:
    async with client(application()) as http:
        answer = await http.post(f"{API}/streamPredict", content=body, headers=JSON)
    assert answer.status_code == 400
    assert reason in answer.json()["message"]
