"""Parses HTTP requests with httptools, within limits on the size of their heads.

The parser itself has no such limits, and joins the pieces of a header again for each piece.
"""

from __future__ import annotations

import re
from typing import Any, Protocol
from urllib.parse import unquote

import httptools
from starlette.types import Scope

from mistk_service.web.server.config import HttpLimits
from mistk_service.web.server.exchange import Exchange

#: A status and a message, which may name the limits.
Refusal = tuple[int, str]

_TOO_LARGE: Refusal = (
    431,
    "The request line and the headers are too large: at most {0.head_bytes} bytes and {0.head_lines} headers are "
    "accepted. Send fewer or shorter ones; data belongs in the body.",
)
_INVALID: Refusal = (400, "This is not a valid HTTP/1.1 request.")
_UPGRADE_REFUSED: Refusal = (
    400,
    "The request offers another protocol, which is not supported. Send it without Upgrade.",
)

#: Bytes of a header other than its name and its value: a colon, a space and the end of the line.
_SEPARATORS = 4

#: The header with which a client offers another protocol.
_UPGRADE = re.compile(rb"(?i)(?<=\r\n)(?=upgrade:)")

_ASGI = {"version": "3.0", "spec_version": "2.3"}


class Refused(Exception):
    """A request is refused.

    Attributes:
        refusal: the answer.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal[1])
        self.refusal = refusal


class Begin(Protocol):
    """Begins a request whose head has been read."""

    def __call__(self, scope: Scope, *, keep_alive: bool, awaits_continue: bool) -> Exchange:
        """Return the exchange that takes the body.

        Args:
            scope: the parts of an ASGI scope that depend on the request.
            keep_alive: whether the connection stays open.
            awaits_continue: whether the client sends the body only after "100 Continue".

        Raises:
            Refused: the request is refused.
        """


class RequestParser:
    """Parses the requests of a connection.

    Args:
        limits: the limits.
        begin: called for each request.

    Attributes:
        in_body: whether the body of a request is incomplete.
    """

    def __init__(self, limits: HttpLimits, begin: Begin) -> None:
        self.in_body = False
        self._limits = limits
        self._begin = begin
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        # Requests that were sent before the response that closes the connection are no errors.
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        #: The size of the data that is being parsed, and of the data that came after the parser's last progress.
        self._size = 0
        self._without_progress = 0
        self._refusal = _INVALID
        #: The target of the request that is being received; empty between requests.
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._awaits_continue = False
        self._exchange: Exchange

    def feed(self, data: bytes) -> Refusal | None:
        """Parse data; return the answer if it has to be refused."""
        # Only at the beginning of a request: where its head ends is known only there, and its body must stay as it is.
        if not self._url and b"pgrade" in data:
            data = _without_upgrade(data)
        self._size = len(data)
        self._without_progress += self._size
        assert self._parser is not None, "the connection is open"
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            return self._refusal
        except httptools.HttpParserUpgrade:
            return _UPGRADE_REFUSED
        too_many = not self.in_body and len(self._headers) > self._limits.head_lines
        # After a request that closes the connection, the parser drops what comes.
        too_long = self._without_progress > self._limits.head_bytes and self._url
        return _TOO_LARGE if too_many or too_long else None

    def close(self) -> None:
        """Forget what refers to this object."""
        self._parser = None

    # --- called by the parser -----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._without_progress = 0
        self._headers = []
        self._awaits_continue = False

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. The trailers of a chunked body are dropped."""
        if self.in_body:
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self._awaits_continue = True
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Check the size of the head, and begin the request."""
        parser = self._parser
        assert parser is not None
        if self._is_too_large():
            self._refuse(_TOO_LARGE)
        self.in_body = True
        version = parser.get_http_version()
        path, query = _split(self._url)
        text = path.decode("ascii")
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "method": parser.get_method().decode("ascii"),
            "root_path": "",
            "path": unquote(text) if "%" in text else text,
            "raw_path": path,
            "query_string": query,
            "headers": self._headers,
        }
        keep_alive = version != "1.0" and parser.should_keep_alive()
        try:
            self._exchange = self._begin(scope, keep_alive=keep_alive, awaits_continue=self._awaits_continue)
        except Refused as error:
            self._refuse(error.refusal)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._without_progress = 0
        self._exchange.add_body(body)

    def on_message_complete(self) -> None:
        """End the request."""
        self._without_progress = 0
        self._url = b""
        self.in_body = False
        self._exchange.end_body()

    def _is_too_large(self) -> bool:
        if len(self._headers) > self._limits.head_lines:
            return True
        # Most heads come in one piece.
        if not self._without_progress and self._size <= self._limits.head_bytes:
            return False
        size = sum(len(name) + len(value) + _SEPARATORS for name, value in self._headers)
        return len(self._url) + size > self._limits.head_bytes

    def _refuse(self, refusal: Refusal) -> None:
        """Stop the parser, which reports an error."""
        self._refusal = refusal
        raise Refused(refusal)


def _split(target: bytes) -> tuple[bytes, bytes]:
    """Return the path and the query of the target of a request.

    Raises:
        httptools.HttpParserInvalidURLError: it is none.
    """
    if target.startswith(b"/") and b"#" not in target:
        path, _, query = target.partition(b"?")
        return path, query
    url = httptools.parse_url(target)
    return url.path or b"/", url.query or b""


def _without_upgrade(data: bytes) -> bytes:
    """Return a request with its offer of another protocol renamed: the server declines it, but the parser would drop the body.

    Java's HttpClient offers HTTP/2 with its first request.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"declined-", head) + end + body
