"""The behaviour that is special to workers on Ray."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import psutil
import pytest

pytest.importorskip("ray")

from mistk_service.errors import SettingsError
from mistk_service.workers.host.ray_worker import RayWorker, connect
from mistk_service.workers.messages import Loaded
from tests.support.harness import TIMEOUT, Listener, WorkerUnderTest, reference

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180), pytest.mark.filterwarnings("default")]


def listening() -> set[tuple[str, int]]:
    """Return the addresses where this process waits for connections."""
    connections = psutil.Process().net_connections("tcp")
    return {tuple(each.laddr) for each in connections if each.status == psutil.CONN_LISTEN}


async def test_a_connection_without_the_secret_is_closed_and_the_worker_is_still_awaited():
    connect(None)
    before, listener = listening(), Listener()
    worker = RayWorker(reference("nothing:Nothing"), listener, cpus=10_000)  # no cluster has room for it
    await worker.start()
    (address,) = listening() - before
    reader, writer = await asyncio.open_connection(*address)
    writer.write(bytes(32))
    async with asyncio.timeout(TIMEOUT):
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    writer.close()
    # Connections that send nothing give way to later ones.
    silent = [socket.create_connection(address) for _ in range(50)]
    for early in silent[:30]:
        with suppress(ConnectionResetError):
            assert await asyncio.to_thread(early.recv, 1) == b""
    silent[-1].setblocking(False)
    with pytest.raises(BlockingIOError):
        silent[-1].recv(1)
    for each in silent:
        each.close()
    assert not worker.exited
    worker.kill()
    await worker.wait_exited()
    assert listening() == before
    assert listener.failure is not None


async def test_the_death_of_an_actor_is_told_as_that_and_ends_its_process():
    connect(None)
    worker = WorkerUnderTest("nothing:Nothing", "ray")
    await worker.worker.start()
    await worker.until(Loaded)
    process = psutil.Process(worker.worker.pid)
    process.parent().kill()
    assert "The worker's actor died" in (await worker.listener.until_exit()).message
    process.wait(TIMEOUT)


def test_a_cluster_that_encrypts_is_refused_since_the_messages_would_not_be(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_USE_TLS", "1")
    with pytest.raises(SettingsError, match="RAY_USE_TLS"):
        connect(None)
