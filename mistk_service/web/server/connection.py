"""HTTP/1.1 connections, with limits on how long a client may take. Uvicorn's server makes and ends them.

Uvicorn's own protocols have a keep-alive timeout only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from typing import Any, Literal

from starlette.types import Scope
from uvicorn.server import ServerState

from mistk_service.web.server.config import ServerConfig
from mistk_service.web.server.exchange import Exchange
from mistk_service.web.server.request_parser import Refusal, Refused, RequestParser

logger = logging.getLogger(__name__)

#: Seconds in which a client that is still sending can read the answer before the connection is closed. Closed over unread
#: data, the connection would be reset, and the client might never see the answer.
_LINGER = 2.0

_TOO_MANY_AHEAD: Refusal = (
    400,
    "The connection has more than {0.pipelined} requests waiting for their answers. Wait for some, or open further ones.",
)
_SLOW_HEAD: Refusal = (
    408,
    "The request was not complete within {0.head_timeout:g} s. Send it at once, on a new connection.",
)
_SLOW_BODY: Refusal = (
    408,
    "The body of the request came too slowly: less than {0.body_rate:g} bytes a second for {0.body_timeout:g} s. "
    "Send it again on a new connection.",
)
_TOO_MANY: Refusal = (
    503,
    "The service has reached its maximum number of connections. Try again later, or reuse connections.",
)


class HttpConnection(asyncio.Protocol):
    """A connection of a client, made by uvicorn's server.

    Timers exist only while data is awaited. A request that arrives in one piece needs none.

    Args:
        config: the server's configuration.
        server_state: the connections and tasks of the server.
        app_state: what the lifespan of the application leaves to its requests.

    Attributes:
        transport: sends to the client.
        write_paused: whether the client has to read before more is sent.
        ending: whether the connection is about to be closed, so that what the client sends is dropped.
    """

    transport: asyncio.Transport
    _parser: RequestParser

    def __init__(
        self,
        config: ServerConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.ending = False
        self._config = config
        self._limits = config.limits
        self._app = config.loaded_app
        self._server = server_state
        self._app_state = app_state
        self._loop = asyncio.get_running_loop()
        self._endpoints: dict[str, Any] = {}
        # Requests: the one that is received, the one that is answered, and those that wait for that.
        self._receiving: Exchange | None = None
        self._answering: Exchange | None = None
        self._ahead: deque[Exchange] = deque()
        # Flow control.
        self.write_paused = False
        self._read_paused = False
        self._writable: asyncio.Event | None = None
        # Time.
        self._awaited: Literal["head", "body", "end"] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._idle_since: float | None = None
        self._progress = 0
        self._was_paused = False
        self._unsent = 0

    # --- the connection -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept a connection, or refuse it if there are too many."""
        self.transport = transport  # type: ignore[assignment]  # that of a stream
        self._parser = RequestParser(self._limits, self._begin)
        self._server.connections.add(self)  # type: ignore[arg-type]  # it has the methods of uvicorn's that are used
        self._endpoints = {
            "server": _address(transport.get_extra_info("sockname")),
            "client": _address(transport.get_extra_info("peername")),
            "scheme": "https" if transport.get_extra_info("sslcontext") else "http",
        }
        if len(self._server.connections) > self._config.most_connections and not self._config.end_idle():
            self.refuse(_TOO_MANY, linger=False)
            return
        self._config.idle[self] = None
        self._await("head")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio gives it
        """Clean up after a connection."""
        self._config.idle.pop(self, None)
        self._server.connections.discard(self)
        self._await(None)
        for timer in (self._write_timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        if self._answering is not None:
            self._answering.disconnect()
        self._ahead.clear()
        self.resume_writing()
        # They refer to this connection, so that only the garbage collector could free them.
        self._parser.close()
        del self._parser
        self._receiving = self._answering = None
        self._config.closed()

    def shutdown(self) -> None:
        """Close the connection after the current response; called by uvicorn."""
        if self._answering is None:
            self.close()
        else:
            self._answering.keep_alive = False

    def close(self) -> None:
        """Close the connection once everything has been sent, unless the client reads nothing of it for too long."""
        if self.transport.is_closing():  # asyncio's transport for TLS cannot be used after a second time
            return
        if self._is_answered_early and self._awaited != "end" and self.transport.can_write_eof():
            self._linger()
            return
        self.ending = True  # a transport for TLS may read on until everything has been sent
        self.transport.close()
        if self._write_timer is None and self.transport.get_write_buffer_size():
            self._watch_sending()

    @property
    def _is_answered_early(self) -> bool:
        """Whether the request whose body is still on its way has been answered."""
        return self._parser.in_body and self._receiving is not None and self._receiving.complete

    def _linger(self) -> None:
        """Close the connection soon. Until then the client can read the answer, and what it sends is dropped."""
        self.ending = True
        self._await(None)
        with contextlib.suppress(OSError):  # the client may have gone
            self.transport.write_eof()
        self.resume_reading()
        self._awaited, self._timer = "end", self._loop.call_later(_LINGER, self.close)

    # --- what the client sends ----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Parse data, and start the timer for what has to follow."""
        if self.ending:
            return
        self._idle_since = None
        if (refusal := self._parser.feed(data)) is not None:
            self.refuse(refusal)
        if self.ending or self.transport.is_closing():
            return
        busy = self._answering is not None
        if busy:
            self._config.idle.pop(self, None)
        # No timeout for the next request while one is being answered, or if this was the end of one that has been answered.
        self._await("body" if self._parser.in_body else None if busy or self._idle_since is not None else "head")
        self._progress += len(data)
        self._was_paused = self._was_paused or self._read_paused

    # --- requests -----------------------------------------------------------------------------------------------------

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of every response."""
        return self._server.default_headers

    def _begin(self, scope: Scope, *, keep_alive: bool, awaits_continue: bool) -> Exchange:
        """Begin a request, unless another one is ahead of it; see :class:`~mistk_service.web.server.request_parser.Begin`."""
        scope.update(self._endpoints, state=self._app_state.copy())
        exchange = Exchange(self, scope, keep_alive=keep_alive, awaits_continue=awaits_continue)
        self._receiving = exchange
        if self._answering is None:
            self._start(exchange)
        elif len(self._ahead) < self._limits.pipelined:
            self.pause_reading()
            self._ahead.append(exchange)
        else:
            raise Refused(_TOO_MANY_AHEAD)
        return exchange

    def _start(self, exchange: Exchange) -> None:
        self._answering = exchange
        exchange.task = self._loop.create_task(exchange.run(self._app))
        self._server.tasks.add(exchange.task)

    def finished(self, exchange: Exchange) -> None:
        """Forget the task of an exchange."""
        assert exchange.task is not None
        self._server.tasks.discard(exchange.task)
        exchange.task = None

    def ended(self) -> None:
        """Continue with the next request after a response has been sent."""
        self._server.total_requests += 1
        self._answering = None
        if self.ending or self.transport.is_closing():
            return
        self.resume_reading()
        if self._ahead:
            self._start(self._ahead.popleft())
        elif not self._parser.in_body:
            self.rest()

    def rest(self) -> None:
        """Wait for a further request: the last one has been received and answered."""
        self._config.idle[self] = None
        self._idle_since = self._loop.time()
        if self._idle_timer is None:
            self._idle_timer = self._loop.call_later(self._limits.keep_alive, self._close_idle)

    # --- time ---------------------------------------------------------------------------------------------------------

    def _close_idle(self) -> None:
        """Close the connection if it has been idle for long enough. The timer outlives requests, which would be slower."""
        self._idle_timer = None
        if self._idle_since is None or self._answering is not None:
            return
        left = self._idle_since + self._limits.keep_alive - self._loop.time()
        if left <= 0:
            self.close()
        else:
            self._idle_timer = self._loop.call_later(left, self._close_idle)

    def _await(self, awaited: Literal["head", "body"] | None) -> None:
        """Start the timer for the next data. A timer that runs for the same thing is kept."""
        if awaited == self._awaited:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._awaited, self._progress, self._was_paused = awaited, 0, self._read_paused
        if awaited is not None:
            seconds = self._limits.head_timeout if awaited == "head" else self._limits.body_timeout
            self._timer = self._loop.call_later(seconds, self._late)

    def _late(self) -> None:
        if self._awaited == "body" and self._is_body_expected():
            self._awaited = None
            self._await("body")
        elif self._awaited == "head" and not self._progress:
            self.close()  # there is no request to answer
        else:
            self.refuse(_SLOW_BODY if self._awaited == "body" else _SLOW_HEAD)

    def _is_body_expected(self) -> bool:
        enough = self._progress >= self._limits.body_rate * self._limits.body_timeout
        # Time in which the service did not read does not count, even if it has just resumed. A client that waits for
        # "100 Continue" does not send its body yet.
        return enough or self._was_paused or (self._receiving is not None and self._receiving.awaits_continue)

    # --- flow control -------------------------------------------------------------------------------------------------

    def pause_reading(self) -> None:
        """Read no further data until :meth:`resume_reading`."""
        if not self._read_paused:
            self._read_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self._read_paused:
            self._read_paused = False
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        """Start to watch a client that does not read its response; called by the transport."""
        self.write_paused = True
        self._writable = asyncio.Event()
        self._watch_sending()

    def resume_writing(self) -> None:
        """Stop watching, unless everything has to be sent; called by the transport."""
        self.write_paused = False
        if self._writable is not None:
            self._writable.set()
        if self._write_timer is not None and not self.transport.is_closing():
            self._write_timer.cancel()
            self._write_timer = None

    async def drain(self) -> None:
        """Wait until the client has read enough."""
        if self._writable is not None:
            await self._writable.wait()

    def _watch_sending(self) -> None:
        self._unsent = self.transport.get_write_buffer_size()
        self._write_timer = self._loop.call_later(self._limits.send_timeout, self._send_timed_out)

    def _send_timed_out(self) -> None:
        if self.transport.get_write_buffer_size() == self._unsent:
            self.transport.abort()
        else:
            self._watch_sending()

    # --- refusals -----------------------------------------------------------------------------------------------------

    def refuse(self, refusal: Refusal, *, linger: bool = True) -> None:
        """Answer a request without the application, and close the connection."""
        if self.ending or self.transport.is_closing():
            return
        if self._is_answered_early:  # a second answer would be taken for that of the next request
            self.close()
            return
        self.ending = True
        self._await(None)
        self._ahead.clear()
        if self._answering is not None:
            self._answering.disconnect()
            if self._answering.started:  # it can only be truncated
                self.close()
                return
        status, message = refusal
        message = message.format(self._limits)
        logger.info("Refused a request from %s with %d: %s", self._endpoints["client"], status, message)
        self.transport.write(self._config.refusal(status, message))
        if linger and self.transport.can_write_eof():  # TLS lingers itself when it is closed
            self._linger()
        else:
            self.close()


def _address(socket_name: Any) -> tuple[str, int] | None:
    """Return the address and the port in the name of a socket."""
    return (str(socket_name[0]), int(socket_name[1])) if isinstance(socket_name, tuple) else None
