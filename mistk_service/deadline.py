"""Deadlines that are passed down to everything that has to finish in time."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable

#: Seconds between two checks of a deadline during a wait, since it may have been brought forward.
_INTERVAL = 0.05

#: A monotonic clock, in seconds.
Clock = Callable[[], float]


class Deadline:
    """A point in time that can be brought forward, but not postponed. It can be used from any thread.

    Args:
        seconds: the time until then.
        clock: a monotonic clock, in seconds. Tests pass a fake one instead of sleeping.
    """

    def __init__(self, seconds: float = math.inf, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._at = clock() + seconds
        self._outer: Deadline | None = None
        self._reserve = 0.0
        self._overdue: set[threading.Thread] = set()

    def within(self, seconds: float = math.inf, *, reserve: float = 0.0) -> Deadline:
        """Return a deadline inside this one, which is brought forward together with it.

        Args:
            seconds: the maximum time until then.
            reserve: the minimum time in seconds between it and this one.
        """
        inner = Deadline(seconds, self._clock)
        inner._outer, inner._reserve, inner._overdue = self, reserve, self._overdue
        return inner

    def bring_forward(self, seconds: float) -> None:
        """Move it to this many seconds from now, unless it is already earlier."""
        self._at = min(self._at, self._clock() + seconds)

    def left(self) -> float:
        """Return the seconds left; 0.0 if it has passed."""
        left = self._at - self._clock()
        if self._outer is not None:
            left = min(left, self._outer.left() - self._reserve)
        return max(0.0, left)

    def join(self, thread: threading.Thread) -> bool:
        """Wait for a thread to end; return False if it has not ended in time."""
        while thread.is_alive():
            if not (left := self.left()):
                self._overdue.add(thread)
                return False
            thread.join(min(left, _INTERVAL))
        return True

    async def wait(self, event: asyncio.Event) -> bool:
        """Wait for an event; return False if it was not set in time."""
        while not event.is_set():
            if not (left := self.left()):
                return False
            try:
                async with asyncio.timeout(min(left, _INTERVAL)):
                    await event.wait()
            except TimeoutError:
                pass
        return True

    @property
    def overdue(self) -> list[threading.Thread]:
        """The threads that did not end in time, for this deadline or a related one, and are still alive."""
        # A copy, since another thread may add to it in the meantime.
        return [thread for thread in tuple(self._overdue) if thread.is_alive()]
