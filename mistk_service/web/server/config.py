"""Uvicorn's configuration, with the state that its protocols share."""

from __future__ import annotations

import asyncio
import http
from typing import Any, Protocol

import uvicorn

from mistk_service.web.memory import LargeBlocks
from mistk_service.web.refusals import ErrorBody
from mistk_service.web.server.http_limits import HttpLimits

__all__ = ["PROTECTION", "Connection", "ServerConfig"]

#: Headers of every response: browsers neither show it inside another page nor guess its type.
PROTECTION = ((b"x-content-type-options", b"nosniff"), (b"x-frame-options", b"DENY"))

#: Closed connections after which memory is returned to the system.
_MANY = 1000


class Connection(Protocol):
    """A connection of a client."""

    transport: asyncio.Transport


class ServerConfig(uvicorn.Config):
    """Uvicorn's configuration with limits, and with the idle connections.

    Args:
        app: the ASGI application.
        limits: limits on clients.
        error_body: makes the JSON of an error that is answered before there is a request for the application.
        protocol: the class of connections, which enforces the limits.
        options: further options of uvicorn.
    """

    def __init__(
        self, app: Any, limits: HttpLimits, error_body: ErrorBody, protocol: type[asyncio.Protocol], **options: Any
    ) -> None:
        super().__init__(
            app,
            http=protocol,
            ws="none",
            log_config=None,  # its loggers are as all others
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=limits.keep_alive,  # type: ignore[arg-type]  # asyncio takes fractions
            **options,
        )
        self.limits = limits
        self.most_connections = limits.possible_connections
        #: The connections without a request, in the order in which they became idle.
        self.idle: dict[Connection, None] = {}
        self._error_body = error_body
        self._closed = 0
        self._blocks = LargeBlocks(collect=True)

    def end_idle(self) -> bool:
        """Close the connection that has been idle for longest; return whether there is one."""
        oldest = next(iter(self.idle), None)
        if oldest is None:
            return False
        del self.idle[oldest]
        oldest.transport.close()
        return True

    def closed(self) -> None:
        """Count a closed connection; after many of them, memory is returned to the system."""
        # A streamed response leaves reference cycles behind, and the garbage collector runs too rarely to free them soon.
        self._closed += 1
        if self._closed >= _MANY:
            self._closed = 0
            self._blocks.used()

    def refusal(self, status: int, message: str) -> bytes:
        """Return a whole HTTP response, after which the connection is closed."""
        body = self._error_body(status, message)
        head = [
            f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Connection: close",
            *(f"{name.decode()}: {value.decode()}" for name, value in PROTECTION),
        ]
        return "\r\n".join([*head, "", ""]).encode("ascii") + body
