"""Ambiguous requests are refused, and every response has security headers."""

from __future__ import annotations

import pytest

from mistk_service.doors.mistk.problems import answer
from mistk_service.web.gate import RequestFilter
from tests.support.http_server import served
from tests.web.server.test_connections import CHUNKED, App, connected, get, post

pytestmark = pytest.mark.anyio

AMBIGUOUS = {
    "two hosts": get("/", b"Host: b"),
    "the same host twice": get("/", b"Host: a"),
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "a length and chunks": CHUNKED[:-2] + b"Content-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "chunks and a length": post(3)[:-2] + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "two lengths": post(3)[:-2] + b"Content-Length: 4\r\n\r\nabcd",
}


@pytest.mark.parametrize("request_", AMBIGUOUS.values(), ids=AMBIGUOUS)
async def test_a_request_that_can_be_read_in_two_ways_is_refused_and_the_connection_ends(request_: bytes) -> None:
    app = App()
    async with served(RequestFilter(app, "0.0.0.0", (), answer)) as port, connected(port) as client:
        client.send(request_)
        status, error = await client.answer()
        assert (status, error["code"]) == (400, 400)
        client.send(get("/smuggled"))
        assert b"200" not in await client.end()
    assert not app.asked.is_set()


async def test_what_no_application_answers_is_confined_too() -> None:
    async with served(App()) as port, connected(port) as client:
        client.send(b"nonsense\r\n\r\n")
        answer = (await client.end()).lower()
        assert b"x-content-type-options: nosniff" in answer
        assert b"x-frame-options: deny" in answer
