"""Uvicorn's two HTTP protocols, with limits.

Uvicorn passes every byte to a parser, and neither parser limits what it buffers: httptools joins the pieces of a header again
for each piece, and h11 checks only the size of what is incomplete. The size is therefore counted while a request is parsed.
Uvicorn has only a keep-alive timeout; the other timeouts are here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

from uvicorn.protocols.http.flow_control import FlowControl

from mistk_service.web.server.config import ServerConfig

#: Seconds in which a refused client can read the answer before the connection is closed. Closed over unread data, the
#: connection would be reset, and the client might never see the answer.
_LINGER = 2.0

TOO_LARGE = (
    431,
    "The request line and the headers are too large: at most {0.head_bytes} bytes and {0.head_lines} headers are "
    "accepted. Send fewer or shorter ones; data belongs in the body.",
)
TOO_MANY_AHEAD = (
    400,
    "The connection has more than {0.pipelined} requests waiting for their answers. Wait for some, or open further ones.",
)
_SLOW_HEAD = (408, "The request was not complete within {0.head_timeout:g} s. Send it at once, on a new connection.")
_SLOW_BODY = (
    408,
    "The body of the request came too slowly: less than {0.body_rate:g} bytes a second for {0.body_timeout:g} s. "
    "Send it again on a new connection.",
)
_TOO_MANY = (503, "The service has reached its maximum number of connections. Try again later, or reuse connections.")
_INVALID = (400, "This is not a valid HTTP/1.1 request.")

#: A status and a message.
Answer = tuple[int, str]


class JoinedWrites:
    """A transport that sends the head of a response together with what follows it.

    Uvicorn writes both one after the other, and each would be a system call and a packet, the first of which wakes the
    client early. A head without an immediate body, as that of a stream, is sent in the next iteration of the event loop.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head: bytes | None = None
        self.is_closing = transport.is_closing  # called for every request

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send data, or keep it if it is a head."""
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.write(head + data)
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def write_eof(self) -> None:
        """Close the sending side once everything has been sent."""
        self._flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Close the connection once everything has been sent."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._head is not None:
            self.write(b"")


class LimitedProtocol(asyncio.Protocol):
    """The common base of both protocols; inherit from it before uvicorn's class.

    Timers exist only while data is awaited. A request that arrives in one piece needs none.
    """

    # Attributes of uvicorn's class.
    config: ServerConfig
    transport: asyncio.Transport
    flow: FlowControl
    loop: asyncio.AbstractEventLoop
    connections: set[Any]
    cycle: Any
    _unset_keepalive_if_required: Callable[[], None]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = self.config.limits
        self._objection: Answer | None = None
        self.refused = False
        self._awaited: Literal["head", "body", "end"] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._progress = 0
        self._was_paused = False
        self._unsent = 0

    # --- implemented for each parser ----------------------------------------------------------------------------------

    def in_body(self) -> bool:
        """Return whether the body of a request is incomplete."""
        raise NotImplementedError

    def feed(self, data: bytes) -> None:
        """Pass data to the parser.

        Call :meth:`reject` for data that is too large, and raise the result as an error of the parser.
        """
        raise NotImplementedError

    # --- the connection -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept a connection, or refuse it if there are too many."""
        super().connection_made(transport)
        self.transport = JoinedWrites(self.transport, self.loop)  # type: ignore[assignment]
        if len(self.connections) > self.config.most_connections and not self.config.end_idle():
            self.refuse(_TOO_MANY, linger=False)
            return
        self.config.idle[self] = None
        self._await("head")

    def connection_lost(self, exc: Exception | None) -> None:
        """Clean up after a connection."""
        self.config.idle.pop(self, None)
        self._await(None)
        if self._write_timer is not None:
            self._write_timer.cancel()
        super().connection_lost(exc)
        self.config.closed()

    def data_received(self, data: bytes) -> None:
        """Parse data, and start the timer for what has to follow."""
        if self.refused:
            return
        self.feed(data)
        if self.refused or self.transport.is_closing():
            return
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy:
            self.config.idle.pop(self, None)
        # No timeout for the next request while one is being answered.
        self._await("body" if self.in_body() else None if busy else "head")
        self._progress += len(data)
        self._was_paused = self._was_paused or self.flow.read_paused

    def on_response_complete(self) -> None:
        """Continue with the next request; called by uvicorn."""
        super().on_response_complete()  # type: ignore[misc]  # uvicorn's class has it
        if not self.transport.is_closing() and self.cycle.response_complete:
            self.config.idle[self] = None

    def reject(self, answer: Answer) -> None:
        """Set the answer for the error that the parser is about to raise."""
        self._objection = answer

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - ours says what is wrong
        """Answer a request that the parser refuses; called by uvicorn."""
        self.refuse(self._objection or _INVALID)

    # --- time ---------------------------------------------------------------------------------------------------------

    def _await(self, awaited: Literal["head", "body"] | None) -> None:
        """Start the timer for the next data. A timer that runs for the same thing is kept."""
        if awaited == self._awaited:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._awaited, self._progress, self._was_paused = awaited, 0, self.flow.read_paused
        if awaited is not None:
            seconds = self._limits.head_timeout if awaited == "head" else self._limits.body_timeout
            self._timer = self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        if self._awaited == "body" and self._is_body_expected():
            self._awaited = None
            self._await("body")
        elif self._awaited == "head" and not self._progress:
            self.transport.close()  # there is no request to answer
        else:
            self.refuse(_SLOW_BODY if self._awaited == "body" else _SLOW_HEAD)

    def _is_body_expected(self) -> bool:
        enough = self._progress >= self._limits.body_rate * self._limits.body_timeout
        # Time in which the service did not read does not count, even if it has just resumed. A client that waits for
        # "100 Continue" does not send its body yet.
        return enough or self._was_paused or self.cycle.waiting_for_100_continue

    def pause_writing(self) -> None:
        """Start to watch a client that does not read its response; called by the transport."""
        super().pause_writing()
        self._watch_sending()

    def resume_writing(self) -> None:
        """Stop watching; called by the transport."""
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def _watch_sending(self) -> None:
        self._unsent = self.transport.get_write_buffer_size()
        self._write_timer = self.loop.call_later(self._limits.send_timeout, self._send_timed_out)

    def _send_timed_out(self) -> None:
        if self.transport.get_write_buffer_size() == self._unsent:
            self.transport.abort()
        else:
            self._watch_sending()

    # --- refusals -----------------------------------------------------------------------------------------------------

    def refuse(self, answer: Answer, *, linger: bool = True) -> None:
        """Answer a request without the application, and close the connection."""
        if self.refused or self.transport.is_closing():
            return
        self.refused = True
        self._await(None)
        self._unset_keepalive_if_required()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            started = cycle.response_started
            cycle.disconnected = True
            cycle.message_event.set()
            if started:  # it can only be truncated
                self.transport.close()
                return
        status, message = answer
        self.transport.write(self.config.refusal(status, message.format(self._limits)))
        if not linger:
            self.transport.close()
            return
        self.transport.write_eof()
        self.flow.resume_reading()
        self._awaited, self._timer = "end", self.loop.call_later(_LINGER, self.transport.abort)
