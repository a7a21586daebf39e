"""A container in a process of its own, for as long as a ``with`` block lasts."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO

from mistk_service.errors import MistkError, SettingsError
from mistk_service.web.listening import bind

#: Seconds until the service answers, and until it has ended after it was told to.
_START, STOP = 60.0, 20.0


def free_port(wanted: int) -> int:
    """Return the port that is wanted, or where it is taken 0, which stands for any that is free."""
    try:
        bind("127.0.0.1", wanted).close()
    except SettingsError:
        return 0
    return wanted


@contextlib.contextmanager
def service_process(model: str, port: int, state_dir: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run ``mistk-service serve``, and yield where it answers, and its process. It is ended at the end of the block.

    Raises:
        MistkError: it did not start.
    """
    command = [sys.executable, "-m", "mistk_service", "serve", model, "--port", str(port)]
    # In a session of its own: Ctrl-C in the terminal is for the demonstration, which then ends the service in order.
    # The pipe ends with this process, and then the service does too, should there be no time for order.
    process = subprocess.Popen(
        [*command, "--state-dir", str(state_dir), "--log-level", "warning", "--stdin-lifeline"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    lines: deque[str] = deque(maxlen=100)
    url: SimpleQueue[str | None] = SimpleQueue()
    threading.Thread(target=_read, args=(process.stderr, lines, url), daemon=True).start()
    try:
        yield _wait_listening(url, lines), process
    finally:
        process.terminate()  # does nothing to one that has ended
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP)
        process.kill()
        process.wait()
        process.stdin.close()


def _wait_listening(url: SimpleQueue[str | None], lines: deque[str]) -> str:
    with contextlib.suppress(Empty):
        if (found := url.get(timeout=_START)) is not None:
            return found
    printed = "\n".join(lines)
    raise MistkError(f"The service did not start. It printed:\n{printed}")


def _read(stream: IO[str], lines: deque[str], url: SimpleQueue[str | None]) -> None:
    """Read what the service prints, and tell its address; None at the end."""
    with stream:
        for line in stream:
            lines.append(line.rstrip())
            if found := re.search(r"^Serving .*? at (http://\S+)", line):
                url.put(found[1])
    url.put(None)
