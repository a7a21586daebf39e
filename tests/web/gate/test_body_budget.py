"""Unfinished bodies have a common limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from starlette.types import Message, Receive, Scope, Send

from mistk_service.doors.mistk.problems import answer
from mistk_service.web.gate import BodyBudget
from tests.support.http_server import served
from tests.web.server.test_connections import CHUNKED, App, connected, get, post

pytestmark = pytest.mark.anyio

LIMIT, SIZE = 1_000_000, 600_000


class Receiving:
    """An application behind a budget.

    ``arrived`` waits until so many bytes of bodies have been read altogether, ``done`` until so many requests have ended.
    """

    def __init__(self) -> None:
        self._read = self._ended = 0
        self._more = asyncio.Condition()
        self._app = BodyBudget(self._counted, LIMIT, answer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)
        async with self._more:
            self._ended += 1
            self._more.notify_all()

    async def done(self, requests: int) -> None:
        async with self._more:
            await self._more.wait_for(lambda: self._ended >= requests)

    async def arrived(self, size: int) -> None:
        async with self._more:
            await self._more.wait_for(lambda: self._read >= size)

    async def _counted(self, scope: Scope, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
        async def counting() -> Message:
            message = await receive()
            async with self._more:
                self._read += len(message.get("body", b""))
                self._more.notify_all()
            return message

        await App()(scope, counting, send)


async def test_a_body_that_does_not_fit_beside_the_unfinished_ones_is_refused_until_they_are_done() -> None:
    app = Receiving()
    async with served(app) as port, connected(port) as first, connected(port) as second:
        first.send(post(SIZE), b"x" * (SIZE - 1))
        await app.arrived(SIZE - 1)
        second.send(post(SIZE), b"x" * SIZE)
        status, error = await second.answer()
        assert (status, error["code"]) == (503, 503)
        async with connected(port) as third:
            third.send(post(1000), b"x" * 1000, get())  # what arrives whole is never in the way
            assert (await third.answer())[0] == 200
            assert (await third.answer())[0] == 200
            first.send(b"x")
            assert (await first.answer())[0] == 200
            third.send(post(SIZE), b"x" * SIZE)
            assert (await third.answer())[0] == 200


@pytest.mark.parametrize("begun", [post(SIZE), CHUNKED + b"927c0\r\n"], ids=["a length", "chunks"])
async def test_what_an_aborted_body_took_is_free_again(begun: bytes) -> None:
    app = Receiving()
    async with served(app) as port, connected(port) as client:
        for number in range(1, 4):
            async with connected(port) as aborted:
                aborted.send(begun, b"x" * (SIZE - 1))
                await app.arrived(number * (SIZE - 1))
            await app.done(number)
        client.send(post(SIZE), b"x" * SIZE)
        assert (await client.answer())[0] == 200


async def test_files_do_not_count() -> None:
    async with served(Receiving()) as port, connected(port) as client:
        client.send(post(2 * LIMIT).replace(b"POST", b"PUT"), b"x" * 2 * LIMIT)
        assert (await client.answer())[0] == 200
