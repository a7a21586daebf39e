"""Where a service listens."""

from __future__ import annotations

import socket

from mistk_service.errors import SettingsError

__all__ = ["bind", "url_of"]

#: How many connections may wait to be accepted; a thousand watchers may come at once.
_BACKLOG = 2048


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes any that is free.

    Raises:
        SettingsError: the address cannot be had.
    """
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
            f"Cannot listen on {host}:{port} ({error.strerror}); give another --port, 0 for any that is free, or --host.",
            setting="port",
        ) from error
    return sock


def url_of(sock: socket.socket) -> str:
    """Return the URL that a listening socket answers at."""
    host, port, *_ = sock.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
