"""Listening sockets, and their connections."""

from __future__ import annotations

import asyncio
import socket

import pytest

from mistk_service.errors import SettingsError
from mistk_service.web.listening import bind, url_of


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_what_is_written_is_sent_at_once(host: str) -> None:
    """An answer is written as head and body; with Nagle's algorithm the body waits for the head's acknowledgement."""

    async def nodelay_of_a_connection() -> int:
        accepted: asyncio.Queue[int] = asyncio.Queue()

        def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = writer.get_extra_info("socket")
            accepted.put_nowait(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        sock = bind(host, 0)
        async with await asyncio.start_server(take, sock=sock):
            _, writer = await asyncio.open_connection(*sock.getsockname()[:2])
            nodelay = await accepted.get()
            writer.close()
            await writer.wait_closed()
            return nodelay

    if ":" in host and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    assert asyncio.run(nodelay_of_a_connection())


def test_port_0_is_any_that_is_free_and_the_url_tells_which() -> None:
    with bind("127.0.0.1", 0) as first, bind("127.0.0.1", 0) as second:
        assert url_of(first) == f"http://127.0.0.1:{first.getsockname()[1]}"
        assert url_of(first) != url_of(second)


@pytest.mark.parametrize("port", [-1, 65536, 99999])
def test_a_port_that_does_not_exist_is_refused_in_a_sentence(port: int) -> None:
    with pytest.raises(
        SettingsError, match=rf"--port: {port} cannot be used; expected a number from 0 to 65535"
    ) as caught:
        bind("127.0.0.1", port)
    assert "--port" in str(caught.value)


def test_no_address_is_not_taken_for_every_address() -> None:
    with pytest.raises(SettingsError, match=r"127\.0\.0\.1 for this machine alone") as caught:
        bind("", 0)
    assert "--host" in str(caught.value)


def test_a_port_that_is_taken_is_reported_with_what_to_do() -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError) as caught:
            bind("127.0.0.1", port)
    assert "--port" in str(caught.value)
    assert str(port) in str(caught.value)
    assert "--port" in str(caught.value)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "256.0.0.1", "203.0.113.7"])
def test_an_address_that_is_not_ours_is_reported(host: str) -> None:
    with pytest.raises(SettingsError) as caught:
        bind(host, 0)
    assert host in str(caught.value)
