"""The limits of an HTTP server."""

from __future__ import annotations

import resource
from dataclasses import dataclass

__all__ = ["HttpLimits"]

#: Open files that are kept for everything but connections: the worker, the store, artifacts, logs.
_OTHER_FILES = 256


@dataclass(frozen=True)
class HttpLimits:
    """What a client may send, how long it may take, and how many clients there may be.

    Attributes:
        head_bytes: size of a request line together with the headers; more is answered with 431.
        head_lines: number of headers; more is answered with 431.
        head_timeout: seconds from the opening of a connection, or from the first byte of a further request, to the end of the
            headers; then the answer is 408.
        body_timeout: seconds in which a body has to make progress, that is, ``body_rate`` bytes for each of them; else the
            answer is 408. Time in which the service does not read does not count.
        body_rate: bytes a second that a body has at least.
        send_timeout: seconds in which a client has to take some of an answer that waits for it; then the connection ends.
        keep_alive: seconds that a connection is kept open for a further request.
        connections: number of connections. One more takes the place of the one that has been idle for longest; if none is
            idle, it is answered with 503.
        pipelined: number of requests that one connection may send ahead of their answers.
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
        """The number of connections, or what the system's limit on open files leaves of it."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files == resource.RLIM_INFINITY:
            return self.connections
        return max(1, min(self.connections, files - min(_OTHER_FILES, files // 2)))
