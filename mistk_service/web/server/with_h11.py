"""The protocol based on h11, which is always installed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from mistk_service.web.server.config import HttpLimits, ServerConfig
from mistk_service.web.server.protocols import TOO_LARGE, Answer, LimitedProtocol

#: The maximum number of bytes passed to the parser at once.
_PIECE = 16 * 1024

#: Lines of a head other than headers: the request line and the empty line.
_OTHER_LINES = 2


class LimitedH11(LimitedProtocol, H11Protocol):
    """Uvicorn's protocol based on h11, with limits."""

    config: ServerConfig

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = _Connection(self.config.limits, self.reject)

    def in_body(self) -> bool:
        """Return whether the body of a request is incomplete."""
        return self.conn.their_state is h11.SEND_BODY

    def feed(self, data: bytes) -> None:
        """Pass data to the parser."""
        for begin in range(0, len(data), _PIECE):
            H11Protocol.data_received(self, data[begin : begin + _PIECE])
            if self.refused:
                return


class _Connection(h11.Connection):
    """h11's state of a connection, which checks the size of a head before it is parsed."""

    def __init__(self, limits: HttpLimits, note: Callable[[Answer], None]) -> None:
        # h11 itself limits what is incomplete: heads, trailers, the lines of chunks.
        super().__init__(h11.SERVER, max_incomplete_event_size=limits.head_bytes)
        self._limits = limits
        self._note = note

    def next_event(self) -> Any:
        """Return the next event, or raise an error if the next head is too large."""
        try:
            if self.their_state is h11.IDLE:
                self._check_head(self.trailing_data[0])
            return super().next_event()
        except h11.RemoteProtocolError as error:
            if error.error_status_hint == TOO_LARGE[0]:
                self._note(TOO_LARGE)
            raise

    def _check_head(self, data: bytes) -> None:
        end = re.search(rb"\n\r?\n", data)
        head = data[: end.end()] if end else data
        if len(head) > self._limits.head_bytes or head.count(b"\n") > self._limits.head_lines + _OTHER_LINES:
            raise h11.RemoteProtocolError("The head is too large.", error_status_hint=TOO_LARGE[0])
