"""What a worker prints: passed on to the service's own output, with the last lines kept for the case that the worker dies."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections import deque
from typing import IO

from mistk_service.logs import json_line

__all__ = ["Output"]

#: How many of the last lines are kept, and how many characters of each.
_LINES_KEPT, _LINE_LENGTH = 50, 500

#: Bytes read at once, and how long a line gets before it is passed on in pieces.
_CHUNK = 64 * 1024

#: How a line of a log in JSON begins.
_JSON_LINE = b'{"time":"'


class Output:
    """Copies a pipe until its end, or until ``ended`` is readable or closed at its other side, and the pipe is emptied.

    The second is for a pipe that has no end: a process that has left the worker's group may hold it open for ever.

    Args:
        pipe: what the worker prints into; closed at the end.
        ended: a file descriptor, closed at the end too.
        as_json: whether what is no line of a log in JSON is made one.
    """

    def __init__(self, pipe: IO[bytes], ended: int, *, as_json: bool = False) -> None:
        self._pipe = pipe
        self._ended = ended
        self._as_json = as_json
        self._part = b""
        self._lines: deque[str] = deque(maxlen=_LINES_KEPT)

    @property
    def lines(self) -> tuple[str, ...]:
        """The last lines."""
        return tuple(self._lines)

    def copy(self) -> None:
        """Copy to the end. For a thread of its own and not the event loop, since whoever reads our output may be slow."""
        poll = select.poll()
        for readable in (self._pipe.fileno(), self._ended):
            poll.register(readable, select.POLLIN)
        try:
            while self._ended not in (ready := {fd for fd, _ in poll.poll()}):
                if ready and not self._take(os.read(self._pipe.fileno(), _CHUNK)):
                    break
            else:
                # What was printed before is in the pipe, which holds no more than this; what comes later nobody waits for.
                if self._pipe.fileno() in ready:
                    self._take(os.read(self._pipe.fileno(), _CHUNK))
            self._pass_on(self._part)
        finally:
            self.close()

    def close(self) -> None:
        """Let go of both files, for an output that is not copied."""
        self._pipe.close()
        os.close(self._ended)

    def _take(self, data: bytes) -> bytes:
        *lines, self._part = (self._part + data).split(b"\n")
        for line in lines:
            self._pass_on(line + b"\n")
        if len(self._part) >= _CHUNK:
            self._pass_on(self._part)
            self._part = b""
        return data

    def _pass_on(self, line: bytes) -> None:
        if not line:
            return
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        self._lines.append(text[:_LINE_LENGTH])
        if self._as_json and not line.startswith(_JSON_LINE):
            line = json_line("info", "model", text).encode() + b"\n"
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()
