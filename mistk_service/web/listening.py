"""Listening sockets."""

from __future__ import annotations

import contextlib
import ipaddress
import resource
import socket
from urllib.parse import urlsplit

from mistk_service.errors import SettingsError

#: The number of connections that may wait to be accepted; a thousand watchers may connect at once.
_BACKLOG = 2048

#: Limits on open files to ask for, the first one that the system grants; each connection is an open file. The usual default
#: is 1024, on macOS 256. The maximum of macOS is below that of Linux.
_FILES = (65536, 10240)

#: The wildcard addresses, each with its loopback address.
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 picks a free one. Raises the limit on open files as far as the system allows.

    Raises:
        SettingsError: the address cannot be used.
    """
    _check(host, port)
    _allow_many_connections()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The event loop sends without delay on sockets that name their protocol, and only on these. On others an answer, which is
    # written as head and body, would wait up to 40 ms for the client's acknowledgement of the head.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise SettingsError(
            f"Cannot listen on {host}:{port} ({error.strerror}); give another --port, 0 for any that is free, or --host."
        ) from error
    return sock


def _check(host: str, port: int) -> None:
    """Refuse an invalid address, and the empty one, which would mean all addresses of the machine."""
    if not 0 <= port <= 65535:
        raise SettingsError(f"--port: {port} cannot be used; expected a number from 0 to 65535.")
    if not host.strip():
        raise SettingsError(
            "--host: an empty address cannot be used; expected 127.0.0.1 for this machine alone, or 0.0.0.0 for all networks."
        )


def _allow_many_connections() -> None:
    """Raise the soft limit on open files, for which no privileges are needed up to the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for files in _FILES:
        wanted = files if hard == resource.RLIM_INFINITY else min(files, hard)
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            return
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def url_at(host: str, port: int, *, tls: bool = False) -> str:
    """Return the URL of a server at an address."""
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def url_of(sock: socket.socket, *, tls: bool = False) -> str:
    """Return the URL of a listening socket."""
    return url_at(*sock.getsockname()[:2], tls=tls)


def local_url_of(sock: socket.socket, *, tls: bool = False) -> str:
    """Return the URL at which this machine reaches a listening socket: loopback's if it listens on all addresses."""
    host, port, *_ = sock.getsockname()
    return url_at(LOOPBACK.get(host, host), port, tls=tls)


def leads_to(sock: socket.socket, url: str) -> bool:
    """Return whether a URL leads to a listening socket of this machine."""
    try:
        parts = urlsplit(url)
        if (parts.port or {"http": 80, "https": 443}.get(parts.scheme)) != sock.getsockname()[1]:
            return False
        found = socket.getaddrinfo(parts.hostname, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError):  # an unknown host or an invalid port
        return False
    return any(_is_here(family, address[0]) for family, *_, address in found)


def _is_here(family: int, host: object) -> bool:
    """Return whether an address belongs to this machine; others cannot be bound."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True
