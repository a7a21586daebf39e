"""The protocol based on httptools, from the extra ``fast``."""

from __future__ import annotations

import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mistk_service.web.server.config import ServerConfig
from mistk_service.web.server.protocols import TOO_LARGE, TOO_MANY_AHEAD, Answer, LimitedProtocol

#: Bytes of a header other than its name and its value: a colon, a space and the end of the line.
_SEPARATORS = 4


#: The header with which a client offers another protocol.
_UPGRADE = re.compile(rb"(?i)(?<=\r\n)(?=upgrade:)")


class _TooLarge(Exception):
    """Raised in a callback to stop the parser."""


class LimitedHttpTools(LimitedProtocol, HttpToolsProtocol):
    """Uvicorn's protocol based on httptools, with limits."""

    config: ServerConfig

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_body = False
        self._head_bytes = 0
        self._head_lines = 0
        # Bytes passed to the parser since its last callback, such as a header that does not end.
        self._unreported = 0

    def in_body(self) -> bool:
        """Return whether the body of a request is incomplete."""
        return self._in_body

    def feed(self, data: bytes) -> None:
        """Pass data to the parser."""
        self._unreported += len(data)
        if not self._in_body and b"pgrade" in data:
            data = _without_upgrade(data)
        HttpToolsProtocol.data_received(self, data)
        if self._unreported > max(len(data), self.config.limits.head_bytes):
            self.refuse(TOO_LARGE)

    def on_message_begin(self) -> None:
        """Reset the counters."""
        if len(self.pipeline) >= self.config.limits.pipelined:
            self._stop(TOO_MANY_AHEAD)
        self._unreported = self._head_bytes = self._head_lines = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count a part of the target."""
        self._unreported = 0
        self._head_bytes += len(url)
        if self._head_bytes > self._limits.head_bytes:
            self._stop(TOO_LARGE)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header, or a trailer of a chunked body."""
        self._unreported = 0
        self._head_lines += 1
        self._head_bytes += len(name) + len(value) + _SEPARATORS
        if self._head_bytes > self._limits.head_bytes or self._head_lines > self._limits.head_lines:
            self._stop(TOO_LARGE)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Record that the body begins."""
        self._unreported = 0
        self._in_body = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Record progress in the body."""
        self._unreported = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Record that the body ends."""
        self._unreported = 0
        self._in_body = False
        super().on_message_complete()

    def _stop(self, answer: Answer) -> None:
        self.reject(answer)
        raise _TooLarge(answer[1])


def _without_upgrade(data: bytes) -> bytes:
    """Return a head with its offer of another protocol renamed: the server declines it, but the parser would drop the body.

    Java's HttpClient offers HTTP/2 with its first request.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"declined-", head) + end + body
