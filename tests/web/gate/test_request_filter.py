"""Connections other than HTTP, and requests that the server cancels."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mistk_service.doors.mistk.problems import answer
from mistk_service.web.gate import RequestFilter
from tests.web.harness import API, application, client

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics", f"{API}/status", f"{API}/swagger.json", "/x"])
async def test_a_websocket_is_refused_on_every_path(path: str) -> None:
    scope = {"type": "websocket", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": []}
    sent = await exchange(application(), scope)
    assert [message["type"] for message in sent] == ["websocket.close"]


async def test_the_lifespan_is_passed_on() -> None:
    sent = await exchange(application(), {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}})
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_request_that_is_cut_off_is_answered_that_the_service_shuts_down() -> None:
    sent = await cut_off(RequestFilter(wait_for_ever, "127.0.0.1", (), answer))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 503
    assert dict(sent[0]["headers"])[b"content-type"] == b"application/json"
    error = json.loads(sent[1]["body"])
    assert error["code"] == 503
    assert "shutting down" in error["message"]


async def test_an_answer_that_has_begun_is_broken_off_without_another() -> None:
    sent = await cut_off(RequestFilter(begin_and_wait, "127.0.0.1", (), answer))
    assert [message["type"] for message in sent] == ["http.response.start"]


async def test_what_is_refused_at_the_door_is_counted() -> None:
    async with client(application(max_body=10)) as http:
        await http.post(f"{API}/initialize", content=b"x" * 11)
        await http.post(f"{API}/initialize", headers={"Sec-Fetch-Site": "cross-site"})
        await http.get("/healthz")
        figures = (await http.get("/metrics")).text
    counted = [line for line in figures.splitlines() if line.startswith("mistk_requests_total")]
    assert counted == [
        'mistk_requests_total{door="mistk",operation="initialize",status="413"} 1.0',
        'mistk_requests_total{door="mistk",operation="initialize",status="403"} 1.0',
    ]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", path) for path in ("/", "/static/shell.js", "/healthz", "/readyz", "/metrics", "/nothing")]
    + [
        ("GET", f"{API}/{path}")
        for path in ("status", "swagger.json", "ui", "ui/", "ui/swagger-ui-bundle.js", "ui/x", "x")
    ]
    + [("POST", f"{API}/{path}") for path in ("train", "initialize", "status", "ui/")],
)
@pytest.mark.parametrize("headers", [{}, {"Host": "evil.example"}], ids=["served", "refused"])
async def test_every_answer_says_what_a_browser_may_do_with_it(method: str, path: str, headers: dict[str, str]) -> None:
    async with client(application()) as http:
        answer = await http.request(method, path, headers=headers)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    policy = answer.headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "frame-ancestors 'none'"} <= set(policy)
    assert not any("unsafe" in directive for directive in policy)


async def wait_for_ever(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()


async def begin_and_wait(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await asyncio.Event().wait()


async def cut_off(app: ASGIApp) -> list[Message]:
    """Return what is sent for a request that is cancelled while it waits."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    request = asyncio.ensure_future(app(scope, receive, send))
    await asyncio.sleep(0)  # lets it begin
    request.cancel()
    await request
    return sent


async def exchange(app: ASGIApp, scope: Scope) -> list[Message]:
    """Return what is sent for a scope whose peer says what such a peer says."""
    kind = scope["type"]
    events = ["lifespan.startup", "lifespan.shutdown"] if kind == "lifespan" else [f"{kind}.connect"]
    coming = iter(events)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": next(coming)}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent
