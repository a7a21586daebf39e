"""While the application is loading, liveness probes are answered and other requests wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.app.startup import LoadingApp
from tests.web.harness import client

pytestmark = pytest.mark.anyio


class Making:
    """An application whose making waits until it is let go on, and that notes what it was asked."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.error: Exception | None = None
        self.asked: list[str] = []

    def __call__(self) -> ASGIApp:
        assert self.go_on.wait(20)
        if self.error is not None:
            raise self.error
        return self._app

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"made"})


@pytest.fixture
async def making() -> AsyncIterator[Making]:
    making = Making()
    yield making
    making.go_on.set()


async def test_before_the_application_is_made_the_service_is_alive(making: Making):
    async with client(LoadingApp(making)) as http:
        answer = await http.get("/healthz")
        assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
        assert answer.headers["content-type"] == "application/json"
        assert (await http.head("/healthz")).status_code == 200
        assert (await http.get("/livez")).json() == {"status": "alive"}
        answer = await http.get("/startupz")
        assert (answer.status_code, answer.json()) == (503, {"started": False})
    assert making.asked == []


async def test_whoever_wants_more_waits_and_is_answered(making: Making):
    async with client(LoadingApp(making)) as http:
        asking = [asyncio.ensure_future(http.get(path)) for path in ("/readyz", "/v1/mistk/status")]
        asking.append(asyncio.ensure_future(http.post("/healthz")))
        await http.get("/healthz")
        assert not any(request.done() for request in asking)
        making.go_on.set()
        assert [answer.text for answer in await asyncio.gather(*asking)] == ["made"] * 3
    assert sorted(making.asked) == ["/healthz", "/readyz", "/v1/mistk/status"]


async def test_it_answers_everything_as_soon_as_it_is_made(making: Making):
    app = LoadingApp(making)
    making.go_on.set()
    await app.made()
    assert making.asked == []
    async with client(app) as http:
        assert (await http.get("/healthz")).text == "made"


async def test_a_client_that_does_not_wait_takes_it_from_nobody(making: Making):
    app = LoadingApp(making)
    async with client(app) as http:
        impatient = asyncio.ensure_future(http.get("/readyz"))
        patient = asyncio.ensure_future(http.get("/readyz"))
        await http.get("/healthz")
        impatient.cancel()
        making.go_on.set()
        assert (await patient).text == "made"
    await app.made()


async def test_what_went_wrong_is_reported(making: Making):
    making.error = LookupError("no contract")
    app = LoadingApp(making)
    making.go_on.set()
    with pytest.raises(LookupError, match="no contract"):
        await app.made()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        with pytest.raises(LookupError):
            await http.get("/readyz")
