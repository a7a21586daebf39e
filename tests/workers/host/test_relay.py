"""The code of a Ray actor, without Ray: it connects its worker to the service."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mistk_service.errors import Failure
from mistk_service.workers.framing import FrameReader, decode_from_worker
from mistk_service.workers.host.relay import Relay
from mistk_service.workers.messages import Loaded
from tests.support.harness import reference

pytestmark = pytest.mark.anyio

SECRET = b"a secret" * 4

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def relay_to(address: tuple[str, int]) -> Relay:
    return Relay(reference("nothing:Nothing"), os.getcwd(), {}, {}, address, SECRET)


@asynccontextmanager
async def service() -> AsyncIterator[tuple[tuple[str, int], asyncio.Queue[Ends]]]:
    """Yield the address of a service and the connections that come there."""
    connections: asyncio.Queue[Ends] = asyncio.Queue()
    server = await asyncio.start_server(lambda *ends: connections.put_nowait(ends), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname(), connections


async def failure_of(relay: Relay) -> Failure:
    while True:
        for event in await relay.events():
            if isinstance(event, Failure):
                return event


async def test_the_connection_of_a_worker_begins_with_the_secret():
    async with service() as (address, connections):
        relay = relay_to(address)
        await relay.start()
        reader, writer = await connections.get()
        assert await reader.readexactly(len(SECRET)) == SECRET
        frames = FrameReader()
        while not (bodies := list(frames.feed(await reader.read(65536)))):
            pass
        assert isinstance(decode_from_worker(bodies[0]), Loaded)
        await relay.kill()
        assert "killed by the service" in (await failure_of(relay)).message
        writer.close()


async def test_a_worker_ends_when_the_connection_does():
    async with service() as (address, connections):
        relay = relay_to(address)
        await relay.start()
        reader, writer = await connections.get()
        await reader.readexactly(len(SECRET) + 4)
        writer.close()
        assert "ended" in (await failure_of(relay)).message


async def test_a_service_that_cannot_be_reached_is_reported_with_its_address_and_what_to_do():
    async with service() as (address, _):
        pass
    relay = relay_to(address)
    _, pid = await relay.start()
    assert pid is None
    message = (await failure_of(relay)).message
    assert f"cannot connect to the service at 127.0.0.1, port {address[1]}" in message
    assert "reach each other" in message
