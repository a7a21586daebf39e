"""Deadlines: points in time by which something must be over, passed down to everything that has to end by then."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable

__all__ = ["Clock", "Deadline"]

#: Seconds between two looks at a deadline while something is waited for, since it may have been brought forward.
_INTERVAL = 0.05

#: Returns seconds that only go up.
Clock = Callable[[], float]


class Deadline:
    """A point in time that may be brought forward, but never put off. May be used from any thread.

    Args:
        seconds: how far away it is.
        clock: a monotonic clock, in seconds. A test passes its own and need not sleep.
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
            seconds: how far away it is at most.
            reserve: how many seconds it is before this one at least.
        """
        inner = Deadline(seconds, self._clock)
        inner._outer, inner._reserve, inner._overdue = self, reserve, self._overdue
        return inner

    def bring_forward(self, seconds: float) -> None:
        """Let it be so many seconds from now, unless it is earlier already."""
        self._at = min(self._at, self._clock() + seconds)

    def left(self) -> float:
        """Return the seconds that are left: 0.0 once it has passed."""
        left = self._at - self._clock()
        if self._outer is not None:
            left = min(left, self._outer.left() - self._reserve)
        return max(0.0, left)

    def join(self, thread: threading.Thread) -> bool:
        """Wait for the end of a thread that was started; return False where it has not ended in time."""
        while thread.is_alive():
            if not (left := self.left()):
                self._overdue.add(thread)
                return False
            thread.join(min(left, _INTERVAL))
        return True

    async def wait(self, event: asyncio.Event) -> bool:
        """Wait for an event; return False where it has not come in time."""
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
        """The threads that were waited for in vain, by this deadline or one inside or around it, and are still alive."""
        # A copy, since another thread may add to it meanwhile.
        return [thread for thread in tuple(self._overdue) if thread.is_alive()]
