"""Requests, in whatever pieces they arrive."""

from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from tests.web.server.test_connections import get, post
from tests.web.server.test_exchange import body, start, written

pytestmark = pytest.mark.anyio


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the body of the request."""
    data = await Request(scope, receive).body()
    await send(start([(b"content-length", b"%d" % len(data))]))
    await send(body(data))


@pytest.mark.parametrize("cut", [-4, -3, -2, -1, 0, 1])
async def test_a_body_that_looks_like_an_offer_of_another_protocol_stays_as_it_is(cut: int) -> None:
    """Were it longer than announced, its end would become a further request, of whoever wrote the body."""
    data = b"body\r\nUpgrade: h2c\r\n\r\n"
    request = post(len(data)) + data
    at = len(request) - len(data) + cut
    (answer,) = await written(echo, request[:at], request[at:])
    assert answer.endswith(b"\r\n\r\n" + data)


async def test_what_follows_the_last_request_of_a_connection_is_dropped_however_much_it_is() -> None:
    (answer,) = await written(echo, get("/", b"Connection: close"), *[b"x" * 50_000] * 3)
    assert answer.startswith(b"HTTP/1.1 200 OK")
