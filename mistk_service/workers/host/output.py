"""Copies the output of a worker to that of the service, and keeps the last lines in case the worker dies."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections import deque
from collections.abc import Callable
from typing import IO

from mistk_service.logs import json_line

#: The number of lines kept, and the maximum length of each in characters.
_LINES_KEPT, _LINE_LENGTH = 50, 500

#: Bytes to read at once, and the length in bytes at which an unfinished line is passed on.
_CHUNK = 64 * 1024

#: The beginning of every JSON log line.
_JSON_LINE = b'{"time":"'


class Output:
    """Copies a pipe until it ends, or until ``ended`` becomes readable or is closed at its other end, and the pipe is empty.

    ``ended`` is for a pipe that never ends: a process that has left the worker's group may hold it open for ever.

    Args:
        pipe: the worker's output; closed at the end.
        ended: a file descriptor, also closed at the end.
        as_json: whether to convert lines that are not JSON log lines to JSON.
        on_line: also receives each line, on the thread that copies.
    """

    def __init__(
        self, pipe: IO[bytes], ended: int, *, as_json: bool = False, on_line: Callable[[str], None] = lambda _: None
    ) -> None:
        self._pipe = pipe
        self._ended = ended
        self._as_json = as_json
        self._on_line = on_line
        self._part = b""
        self._lines: deque[str] = deque(maxlen=_LINES_KEPT)

    @property
    def lines(self) -> tuple[str, ...]:
        """The last lines."""
        return tuple(self._lines)

    def copy(self) -> None:
        """Copy until the end. Call this on a separate thread: it blocks while the reader of the service's output is slow."""
        poll = select.poll()
        for readable in (self._pipe.fileno(), self._ended):
            poll.register(readable, select.POLLIN)
        try:
            while self._ended not in (ready := {fd for fd, _ in poll.poll()}):
                if ready and not self._take(os.read(self._pipe.fileno(), _CHUNK)):
                    break
            else:
                # Everything printed before ``ended`` is in the pipe, and one read empties it. Later output does not matter.
                if self._pipe.fileno() in ready:
                    self._take(os.read(self._pipe.fileno(), _CHUNK))
            self._pass_on(self._part)
        finally:
            self.close()

    def close(self) -> None:
        """Close both files, for an output that is not copied."""
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
        self._on_line(text)
        if self._as_json and not line.startswith(_JSON_LINE):
            line = json_line("info", "model", text).encode() + b"\n"
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()
