"""A request and its response, as ASGI sees them."""

from __future__ import annotations

import asyncio
import http
import logging
import math
from collections.abc import Callable
from typing import Any, Protocol

from starlette.types import ASGIApp, Message, Scope

from mistk_service.web.disconnect import ON_DISCONNECT

logger = logging.getLogger(__name__)

#: Bytes of a body that wait for the application before the connection is read no further.
_HIGH_WATER = 64 * 1024

#: Bytes of a body up to which it is copied, to be sent with what precedes it in one system call.
_JOINED = 64 * 1024

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode() for status in http.HTTPStatus}

#: Statuses whose responses have no body.
_BODILESS = (204, 304)

_ERROR_HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"21"), (b"connection", b"close")]


class Connection(Protocol):
    """The connection of an exchange.

    Attributes:
        transport: sends the response.
        write_paused: whether the client has to read before more is sent.
    """

    transport: asyncio.Transport
    write_paused: bool

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of every response."""

    def pause_reading(self) -> None:
        """Read no further data."""

    def resume_reading(self) -> None:
        """Read on."""

    async def drain(self) -> None:
        """Wait until the client has read enough."""

    def close(self) -> None:
        """Close the connection once everything has been sent."""

    def ended(self) -> None:
        """Continue after a response."""

    def rest(self) -> None:
        """Wait for a further request, after the end of one that has been answered."""

    def finished(self, exchange: Exchange) -> None:
        """Forget the task of an exchange."""


class Exchange:
    """A request and its response.

    Args:
        connection: its connection.
        scope: the request, without its body.
        keep_alive: whether the connection stays open.
        awaits_continue: whether the client sends the body only after "100 Continue".

    Attributes:
        task: runs the application.
        started: whether a part of the response has been sent.
        complete: whether the response has been sent.
        gone: whether the client has disconnected, or its request was refused.
    """

    def __init__(self, connection: Connection, scope: Scope, *, keep_alive: bool, awaits_continue: bool) -> None:
        self.keep_alive = keep_alive
        self.awaits_continue = awaits_continue
        self.task: asyncio.Task[None] | None = None
        self.started = self.complete = self.gone = False
        self._connection = connection
        self._scope = scope
        self._pieces: list[bytes] = []
        self._size = 0
        self._received = False
        # Most requests have arrived before the application asks for them, and need no event.
        self._has_news = False
        self._news: asyncio.Event | None = None
        self._on_disconnect: Callable[[], None] | None = None
        #: The head of the response, until it is sent with the beginning of the body.
        self._head = b""
        self._is_chunked = False
        #: Bytes of the body that the head announces and that are still to come; infinity if it announces none.
        self._left = 0.0

    # --- called by the connection ---------------------------------------------------------------------------------------

    def add_body(self, piece: bytes) -> None:
        """Take a piece of the request's body."""
        if self.complete:
            return
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > _HIGH_WATER:
            self._connection.pause_reading()
        self._notify()

    def end_body(self) -> None:
        """Note that the request is complete."""
        self._received = True
        if self.complete:
            self._connection.rest()
        self._notify()

    def disconnect(self) -> None:
        """Note that no response can be sent any more."""
        if self.gone:  # its request was refused, and then the client left
            return
        self.gone = True
        self._notify()
        if self._on_disconnect is not None:
            self._on_disconnect()

    async def run(self, app: ASGIApp) -> None:
        """Run the application."""
        self._scope[ON_DISCONNECT] = self._set_on_disconnect
        try:
            await app(self._scope, self.receive, self.send)
        except BaseException:  # whatever ends the application, the client learns of it
            logger.exception("Exception in the ASGI application")
            await self._fail()
        else:
            if not self.complete and not self.gone:
                logger.error("The ASGI application returned before its response was complete.")
                await self._fail()
        finally:
            del self._scope[ON_DISCONNECT]  # a cycle, which only the garbage collector could free
            self._connection.finished(self)

    async def _fail(self) -> None:
        if self.started:
            self._connection.close()  # it can only be truncated
        elif not self.gone:
            self._head = b""
            self._begin(500, _ERROR_HEADERS)
            await self.send({"type": "http.response.body", "body": b"Internal Server Error"})

    # --- the two functions of ASGI --------------------------------------------------------------------------------------

    async def receive(self) -> Message:
        """Return the next piece of the request's body, or that the client has disconnected."""
        connection = self._connection
        if not self.gone and not self.complete:
            if self.awaits_continue and not connection.transport.is_closing():
                self.awaits_continue = False
                connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            connection.resume_reading()
            if not self._has_news:
                self._news = self._news or asyncio.Event()
                await self._news.wait()
            self._has_news = False
            if self._news is not None:
                self._news.clear()
        if self.gone or self.complete:
            return {"type": "http.disconnect"}
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        return {"type": "http.request", "body": body, "more_body": not self._received}

    async def send(self, message: Message) -> None:
        """Send the head of the response, or a piece of its body."""
        if self._connection.write_paused and not self.gone:
            await self._connection.drain()
        if self.gone:
            return
        kind = message["type"]
        if kind == "http.response.start" and not self.started and not self._head:
            self._begin(message["status"], message.get("headers", ()))
        elif kind == "http.response.body" and (self.started or self._head) and not self.complete:
            self._continue(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"The ASGI message {kind!r} is out of order.")

    def _begin(self, status: int, headers: Any) -> None:
        """Make the head. It is sent with the beginning of the body, or at once if nobody knows when that comes."""
        self.awaits_continue = False
        headers = [*self._connection.default_headers, *headers]
        by_name = dict(headers)
        length = by_name.get(b"content-length")
        if b"close" in by_name.get(b"connection", b"").lower():
            self.keep_alive = False
        elif not self.keep_alive:
            headers.append((b"connection", b"close"))
        unknown = length is None and self._scope["method"] != "HEAD" and status not in _BODILESS
        # Clients of HTTP/1.0 read until the connection is closed.
        is_chunked = unknown and self._scope["http_version"] != "1.0"
        if is_chunked and b"transfer-encoding" not in by_name:
            headers.append((b"transfer-encoding", b"chunked"))
        head = b"\r\n".join([_status_line(status), *map(b": ".join, headers), b"", b""])
        lines = len(headers) + 2
        if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head:
            raise RuntimeError("A header of the response contains a line break or a null character.")
        self._head, self._is_chunked = head, is_chunked
        self._left = math.inf if unknown else int(length or 0)
        if length is None:
            asyncio.get_running_loop().call_soon(self._send_head)

    def _continue(self, body: bytes, *, more: bool) -> None:
        if self._scope["method"] == "HEAD":
            self._left, body = 0, b""
        elif self._is_chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            body += b"" if more else b"0\r\n\r\n"
        else:
            self._left -= len(body)
            if self._left < 0:
                raise RuntimeError("The body of the response is longer than its Content-Length.")
        if len(body) > _JOINED:
            self._send_head()
        head, self._head = self._head, b""
        self.started = True
        self._connection.transport.write(head + body if head else body)
        if more:
            return
        if self._left not in (0, math.inf):
            raise RuntimeError("The body of the response is shorter than its Content-Length.")
        self.complete = True
        self._notify()
        if not self.keep_alive:
            self._connection.close()
        self._connection.ended()

    def _send_head(self) -> None:
        head, self._head = self._head, b""
        if head and not self.gone:
            self.started = True
            self._connection.transport.write(head)

    def _set_on_disconnect(self, callback: Callable[[], None] | None) -> None:
        self._on_disconnect = callback
        if callback is None:
            return
        if self.gone:
            callback()
        else:
            self._connection.resume_reading()  # which a further request may have ended; otherwise nobody would notice

    def _notify(self) -> None:
        self._has_news = True
        if self._news is not None:
            self._news.set()


def _status_line(status: int) -> bytes:
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status
