"""The limits of an HTTP server."""

from __future__ import annotations

import resource
from dataclasses import dataclass

__all__ = ["HttpLimits"]

#: Open files reserved for everything but connections: the worker, the store, artifacts, logs.
_OTHER_FILES = 256


@dataclass(frozen=True)
class HttpLimits:
    """Limits on what a client may send, on how long it may take, and on the number of clients.

    Attributes:
        head_bytes: size of a request line together with the headers; more is answered with 431.
        head_lines: number of headers; more is answered with 431.
        head_timeout: seconds from the opening of a connection, or from the first byte of a further request, to the end of the
            headers; then the answer is 408.
        body_timeout: seconds after which a body must have made progress: ``body_rate`` bytes for each second; otherwise the
            answer is 408. Time in which the service does not read does not count.
        body_rate: bytes a second that a body has at least.
        send_timeout: seconds after which the connection is closed if the client has read nothing of a waiting response.
        keep_alive: seconds that a connection is kept open for a further request.
        connections: number of connections. A further one replaces the one that has been idle for longest; if none is idle, it
            is answered with 503.
        pipelined: number of requests that a connection may send before they are answered.
    """

    head_bytes: int = 64 * 1024
    head_lines: int = 128
    head_timeout: float = 20.0
    body_timeout: float = 30.0
    body_rate: float = 240.0
    send_timeout: float = 60.0
    keep_alive: float = 75.0
    connections: int = 4096
    pipelined: int = 128

    @property
    def possible_connections(self) -> int:
        """The number of connections that the system's limit on open files allows, at most ``connections``."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files == resource.RLIM_INFINITY:
            return self.connections
        return max(1, min(self.connections, files - min(_OTHER_FILES, files // 2)))
