"""The clients for asyncio have the methods of the blocking ones, and wait and watch on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from mistk_service.client import AsyncModelClient, ModelClient
from mistk_service.errors import RequestRefused, WaitTimedOut

Wire = Callable[..., dict[str, Any]]


def test_an_operation_is_awaited_and_its_result_too(service: Any, status: Wire, line: Callable[..., bytes]):
    async def train() -> tuple[str, int]:
        async with AsyncModelClient("http://h", transport=httpx.MockTransport(service)) as client:
            reached = await client.wait_for("ready", since=await client.train())
            return reached.state, reached.resource_version

    service.will(
        httpx.Response(200, json=status("training", 7)),
        httpx.Response(200, content=line("training", 8) + line("ready", 9)),
    )
    assert asyncio.run(train()) == ("ready", 9)
    assert [request.url.path for request in service.requests] == ["/v1/mistk/train", "/v1/mistk/status"]


def test_a_refusal_is_raised_where_the_call_is_awaited(service: Any):
    async def pause() -> None:
        async with AsyncModelClient("http://h", transport=httpx.MockTransport(service)) as client:
            await client.pause()

    service.will(httpx.Response(400, json={"code": 400, "message": "not now"}))
    with pytest.raises(RequestRefused, match="not now"):
        asyncio.run(pause())


def test_many_watch_on_one_event_loop_over_real_connections(
    watch_server: Any, connection: Any, line: Callable[..., bytes]
):
    watch_server.script = [connection((line("ready", 1), b" ", line("terminated", 2))) for _ in range(20)]

    async def watch(client: AsyncModelClient) -> list[int]:
        return [event.status.resource_version async for event in client.watch(0)]

    async def watch_all() -> list[list[int]]:
        async with AsyncModelClient(watch_server.url) as client:
            return await asyncio.gather(*(watch(client) for _ in range(20)))

    assert asyncio.run(watch_all()) == [[1, 2]] * 20


def test_a_wait_on_an_event_loop_ends_when_its_time_is_up(
    watch_server: Any, connection: Any, line: Callable[..., bytes]
):
    watch_server.script = [connection((line("training", 2),), then="hold")]

    async def wait() -> None:
        async with AsyncModelClient(watch_server.url) as client:
            await client.wait_for("ready", timeout=0.05)

    with pytest.raises(WaitTimedOut, match=r"within 0\.05 s"):
        asyncio.run(wait())


def test_a_cancelled_watch_closes_its_connection(watch_server: Any, connection: Any, line: Callable[..., bytes]):
    watch_server.script = [connection((line("ready", 1),), then="leave")]

    async def watch() -> None:
        async with AsyncModelClient(watch_server.url) as client:
            first = asyncio.Event()

            async def follow() -> None:
                async for _ in client.watch(0):
                    first.set()

            task = asyncio.create_task(follow())
            await first.wait()
            task.cancel()
            await asyncio.wait({task})

    asyncio.run(watch())
    assert watch_server.left.wait(30)


def test_a_blocking_client_works_inside_an_event_loop(service: Any, status: Wire):
    async def ask() -> str:
        with ModelClient("http://h", transport=httpx.MockTransport(service)) as client:
            return client.wait_for("ready").state

    service.will(httpx.Response(200, json=status("ready", 3)))
    assert asyncio.run(ask()) == "ready"
