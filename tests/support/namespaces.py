"""Network namespaces, which act as machines whose link to this one can be cut."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address

import pytest

#: The number of namespaces that a test process may have at once.
_MOST = 8


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


class Namespace:
    """A namespace, in which only what is started with :attr:`prefix` runs.

    Attributes:
        prefix: what precedes a command that is to run in it.
        address: its own address.
        host: the address of this machine, as seen from it.
    """

    def __init__(self, number: int) -> None:
        # Addresses that are reserved for tests of networks. Other tests may run on this machine.
        network = IPv4Address("198.18.0.0") + (os.getpid() * _MOST + number) % 2**15 * 4
        self.host, self.address = str(network + 1), str(network + 2)
        self._name = self._link = f"mt-{os.getpid()}-{number}"
        self.prefix = ("ip", "netns", "exec", self._name)

    def create(self, undo: ExitStack) -> None:
        """Create it, and add what removes it."""
        _ip("netns", "add", self._name)
        undo.callback(_ip, "netns", "delete", self._name)
        _ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self._name)
        undo.callback(_ip, "link", "delete", self._link)
        _ip("address", "add", f"{self.host}/30", "dev", self._link)
        _ip("-n", self._name, "address", "add", f"{self.address}/30", "dev", "eth0")
        _ip("-n", self._name, "link", "set", "lo", "up")
        _ip("-n", self._name, "link", "set", "eth0", "up")
        self.mend()

    def cut(self) -> None:
        """Let nothing through any more."""
        _ip("link", "set", self._link, "down")

    def mend(self) -> None:
        """Let everything through again."""
        _ip("link", "set", self._link, "up")


@contextmanager
def namespaces(count: int) -> Iterator[list[Namespace]]:
    """Create namespaces, and skip the test where the system does not allow it. What was started in them has to end first."""
    if shutil.which("ip") is None:
        pytest.skip("There is no ip command.")
    created = [Namespace(number) for number in range(count)]
    with ExitStack() as undo:
        try:
            for each in created:
                each.create(undo)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"Network namespaces are not allowed: {error.stderr.strip()}")
        yield created


class _Forwarding(socketserver.BaseRequestHandler):
    server: _Forwarder

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(self.server.path)
            back = threading.Thread(target=_copy, args=(other, self.request), daemon=True)
            back.start()
            _copy(self.request, other)
            back.join()


class _Forwarder(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    path: str


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def forwarded(host: str, path: str) -> Iterator[int]:
    """Forward the connections to a port of an address to a Unix socket; yield the port."""
    with _Forwarder((host, 0), _Forwarding) as server:
        server.path = path
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
