"""Uvicorn's two HTTP protocols, within limits.

Uvicorn hands every byte to a parser, and neither of the two parsers bounds what it gathers: httptools joins the pieces of a
header anew for each piece, h11 looks only at the size of what is not complete. The size is therefore counted while a request
is parsed. Uvicorn has one timeout, that of a connection between two requests; here are the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

from uvicorn.protocols.http.flow_control import FlowControl

from mistk_service.web.server.config import ServerConfig

__all__ = ["TOO_LARGE", "TOO_MANY_AHEAD", "Answer", "LimitedProtocol"]

#: Seconds in which a refused client can read the answer before the connection ends, whatever it goes on sending: data that
#: nobody has read would make the system reset the connection, and the client might never see the answer.
_LINGER = 2.0

TOO_LARGE = (
    431,
    "The request line and the headers are too large: at most {0.head_bytes} bytes and {0.head_lines} headers are taken. "
    "Send fewer or shorter ones; data belongs in the body.",
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
_TOO_MANY = (503, "The service has as many connections as it can have. Try again later, or reuse connections.")
_INVALID = (400, "This is not a valid HTTP/1.1 request.")

#: A status and a message.
Answer = tuple[int, str]


class LimitedProtocol(asyncio.Protocol):
    """What both protocols have in common; stands before uvicorn's class in the order of inheritance.

    Timers exist only while something is awaited: a request that arrives in one piece costs none.
    """

    # Uvicorn's.
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
        self._unsent = 0

    # --- to be answered by the parser's class -------------------------------------------------------------------------

    def in_body(self) -> bool:
        """Return whether the body of a request is incomplete."""
        raise NotImplementedError

    def feed(self, data: bytes) -> None:
        """Give data to the parser. What is too large is noted with :meth:`object` and raised as an error of the parser."""
        raise NotImplementedError

    # --- the connection -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection if there is room for it."""
        super().connection_made(transport)
        if len(self.connections) > self.config.most_connections and not self.config.end_idle():
            self.refuse(_TOO_MANY, linger=False)
            return
        self.config.idle[self] = None
        self._await("head")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self.config.idle.pop(self, None)
        self._await(None)
        if self._write_timer is not None:
            self._write_timer.cancel()
        super().connection_lost(exc)
        self.config.closed()

    def data_received(self, data: bytes) -> None:
        """Take data, and see what has to come next and until when."""
        if self.refused:
            return
        self.feed(data)
        if self.refused or self.transport.is_closing():
            return
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy:
            self.config.idle.pop(self, None)
        # What follows a request that is being answered may take its time.
        self._await("body" if self.in_body() else None if busy else "head")
        self._progress += len(data)

    def answered(self) -> None:
        """Note that an answer is complete; to be called after uvicorn has."""
        if not self.transport.is_closing() and self.cycle.response_complete:
            self.config.idle[self] = None

    def object(self, answer: Answer) -> None:
        """Note what to answer when the parser raises an error."""
        self._objection = answer

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - ours says what was wrong
        """Answer what the parser does not take; called by uvicorn."""
        self.refuse(self._objection or _INVALID)

    # --- time ---------------------------------------------------------------------------------------------------------

    def _await(self, awaited: Literal["head", "body"] | None) -> None:
        """Let a time begin within which something has to come. One that has begun for the same thing goes on."""
        if awaited == self._awaited:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._awaited, self._progress = awaited, 0
        if awaited is not None:
            seconds = self._limits.head_timeout if awaited == "head" else self._limits.body_timeout
            self._timer = self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        if self._awaited == "body" and self._body_goes_on():
            self._awaited = None
            self._await("body")
        elif self._awaited == "head" and not self._progress:
            self.transport.close()  # nothing was asked, so there is nothing to answer
        else:
            self.refuse(_SLOW_BODY if self._awaited == "body" else _SLOW_HEAD)

    def _body_goes_on(self) -> bool:
        enough = self._progress >= self._limits.body_rate * self._limits.body_timeout
        # A client that waits for "100 Continue" has not been asked for its body.
        return enough or self.flow.read_paused or self.cycle.waiting_for_100_continue

    def pause_writing(self) -> None:
        """Begin to watch a client that does not take its answer; called by the transport."""
        super().pause_writing()
        self._watch_sending()

    def resume_writing(self) -> None:
        """End that; called by the transport."""
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def _watch_sending(self) -> None:
        self._unsent = self.transport.get_write_buffer_size()
        self._write_timer = self.loop.call_later(self._limits.send_timeout, self._sending_is_late)

    def _sending_is_late(self) -> None:
        if self.transport.get_write_buffer_size() == self._unsent:
            self.transport.abort()
        else:
            self._watch_sending()

    # --- refusals -----------------------------------------------------------------------------------------------------

    def refuse(self, answer: Answer, *, linger: bool = True) -> None:
        """Answer a request that no application sees, and end the connection."""
        if self.refused or self.transport.is_closing():
            return
        self.refused = True
        self._await(None)
        self._unset_keepalive_if_required()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            begun = cycle.response_started
            cycle.disconnected = True
            cycle.message_event.set()
            if begun:  # it can only be broken off
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
