"""Exits the process by the deadline of its shutdown, whatever its threads are doing."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import NoReturn

from mistk_service.deadline import Deadline

logger = logging.getLogger(__name__)

#: Seconds between two checks of the deadline, which may have been brought forward.
_INTERVAL = 0.02

#: Maximum seconds for writing the last line of the log. It only takes long if nothing reads the log.
_LAST_LINE = 0.1

#: Never set. Waiting for it is a sleep.
_UNSET = threading.Event()


@contextlib.contextmanager
def signals_handled(numbers: Iterable[int], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Let a function handle signals in the block. Only for the main thread."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def watch(deadline: Deadline, exit_code: Callable[[], int] = lambda: 0) -> None:
    """Ensure that the process exits by a deadline, even if its event loop is blocked or a thread hangs.

    Args:
        deadline: when; it may be brought forward.
        exit_code: returns the exit code of a process that does not end by itself.
    """

    def wait() -> None:
        while left := deadline.left():
            _UNSET.wait(min(left, _INTERVAL))
        _leave(deadline.overdue, exit_code())

    threading.Thread(target=wait, name="shutdown-deadline", daemon=True).start()


def finish(end: Deadline, threads: Deadline, exit_code: int = 0) -> NoReturn:
    """Exit the process when its threads have ended, or at their deadline.

    Functions registered with :mod:`atexit` are called. The interpreter's own finalization is skipped: it waits for executors,
    and cannot be limited in time. A further signal ends the process at once.

    Args:
        end: the deadline of the process, around that of :func:`watch`.
        threads: when threads are abandoned.
        exit_code: the exit code of the process.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        # In place of the event loop's handler, which is not removed before: the default would end the process with another
        # exit code.
        signal.signal(number, lambda *_: end.bring_forward(0.0))
    for thread in _non_daemons():
        threads.join(thread)
    if end.overdue:
        end.bring_forward(0.0)
        _UNSET.wait()  # the thread of :func:`watch` ends the process
    atexit._run_exitfuncs()
    _flush()
    os._exit(exit_code)


def _leave(overdue: list[threading.Thread], exit_code: int) -> NoReturn:
    """End this process without waiting for its threads."""
    names = sorted({thread.name for thread in (*_non_daemons(), *overdue)})

    def log() -> None:
        logger.warning(
            "The service ends although these threads are still running: %s.", ", ".join(names) or "the main thread"
        )
        _flush()

    # On a thread, since the other side of a pipe may have stopped reading.
    last = threading.Thread(target=log, daemon=True)
    last.start()
    last.join(_LAST_LINE)
    os._exit(exit_code)


def _non_daemons() -> list[threading.Thread]:
    main = threading.main_thread()
    return [thread for thread in threading.enumerate() if not thread.daemon and thread is not main]


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # The other side of a pipe may have been closed.
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
