"""The limits of an HTTP server, and uvicorn's configuration with the state that its protocols share."""

from __future__ import annotations

import asyncio
import contextlib
import http
import logging
import math
import os
import resource
import ssl
import sys
from dataclasses import dataclass
from typing import Any, Protocol

import uvicorn
from uvicorn.lifespan.on import LifespanOn

from mistk_service.deadline import Deadline
from mistk_service.process_exit import watch
from mistk_service.web.error_responses import ErrorBody
from mistk_service.web.memory import LargeBlocks

#: Headers of every response: browsers neither show it inside another page nor guess its type.
PROTECTION = ((b"x-content-type-options", b"nosniff"), (b"x-frame-options", b"DENY"))

#: Seconds between two checks of the certificate's files.
_RENEWAL = 2

logger = logging.getLogger(__name__)

#: Closed connections after which memory is returned to the system.
_MANY = 1000

#: Seconds after which a computing thread yields to the event loop (``sys.setswitchinterval``). With Python's default of 5
#: ms, every system call of a request could wait that long for a thread such as the recorder's.
_SWITCH_INTERVAL = 0.0005

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
        body_rate: the minimum bytes per second of a body.
        send_timeout: seconds after which the connection is closed if the client has read nothing of a waiting response.
        keep_alive: seconds that a connection is kept open for a further request.
        connections: number of connections. A further one replaces the one that has been idle for longest; if none is idle, it
            is answered with 503.
        pipelined: number of requests that a connection may send before they are answered.
        end_timeout: seconds that the process has to exit after the application's shutdown began; then it exits with code 0,
            whatever its threads are doing. Infinite if something else limits the shutdown.
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
    end_timeout: float = math.inf

    @property
    def possible_connections(self) -> int:
        """The number of connections that the system's limit on open files allows, at most ``connections``."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files == resource.RLIM_INFINITY:
            return self.connections
        return max(1, min(self.connections, files - min(_OTHER_FILES, files // 2)))


def load_certificate(context: ssl.SSLContext, cert: str, key: str) -> None:
    """Load a certificate and its key.

    Raises:
        OSError: they cannot be read, or do not belong together; ssl.SSLError is one.
    """

    def refuse() -> str:
        # OpenSSL would ask for it on the terminal, and everything would wait for that.
        raise OSError(f"{key} has a passphrase; expected a key without one")

    context.load_cert_chain(cert, key, password=refuse)


class Connection(Protocol):
    """A connection of a client."""

    def close(self) -> None:
        """Close it once everything has been sent."""


class ServerConfig(uvicorn.Config):
    """Uvicorn's configuration with limits, which ``protocol`` enforces, and with the idle connections."""

    def __init__(
        self, app: Any, limits: HttpLimits, error_body: ErrorBody, protocol: type[asyncio.Protocol], **options: Any
    ) -> None:
        super().__init__(
            app,
            http=protocol,
            ws="none",
            interface="asgi3",
            log_config=None,  # its loggers are configured like all others
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # uvicorn would trust every program on this machine
            timeout_keep_alive=limits.keep_alive,  # type: ignore[arg-type]  # asyncio takes fractions
            **options,
        )
        if self.ssl_certfile:
            self.callback_notify, self.timeout_notify = self._renew_certificate, _RENEWAL
            self._certificate = self._certificate_stamp()
        self.limits = limits
        self.most_connections = limits.possible_connections
        #: The connections without a request, in the order in which they became idle.
        self.idle: dict[Connection, None] = {}
        self._error_body = error_body
        self._closed = 0
        self._blocks = LargeBlocks(collect=True)

    def load(self) -> None:
        """Load the application; called by uvicorn."""
        super().load()
        sys.setswitchinterval(_SWITCH_INTERVAL)
        if self.limits.end_timeout < math.inf:
            self.lifespan_class = _Lifespan

    async def _renew_certificate(self) -> None:
        """Use a new certificate for new connections; uvicorn calls this every few seconds."""
        stamp = self._certificate_stamp()
        if stamp == self._certificate or self.ssl is None:
            return
        self._certificate = stamp
        try:
            # First elsewhere: a key that does not fit would leave the context with the new certificate and no key.
            load_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), str(self.ssl_certfile), str(self.ssl_keyfile))
            load_certificate(self.ssl, str(self.ssl_certfile), str(self.ssl_keyfile))
            logger.info("Read a new certificate from %s.", self.ssl_certfile)
        except OSError as error:
            logger.error("The certificate is unchanged: %s cannot be used (%s).", self.ssl_certfile, error)

    def _certificate_stamp(self) -> list[tuple[int, int]]:
        found = []
        for file in (self.ssl_certfile, self.ssl_keyfile):
            with contextlib.suppress(OSError):
                status = os.stat(str(file))
                # Not the time of the content: a file that could not be read changes by getting the right owner or mode.
                found.append((status.st_ctime_ns, status.st_ino))
        return found

    def end_idle(self) -> bool:
        """Close the connection that has been idle for longest; return whether there is one."""
        oldest = next(iter(self.idle), None)
        if oldest is None:
            return False
        del self.idle[oldest]
        oldest.close()
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


class _Lifespan(LifespanOn):
    """Uvicorn's lifespan messages to the application. The last one starts the deadline for the exit of the process."""

    config: ServerConfig

    async def shutdown(self) -> None:
        watch(Deadline(self.config.limits.end_timeout))
        await super().shutdown()
