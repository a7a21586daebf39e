"""The schedule of a graceful shutdown. The grace period is divided here and nowhere else.

The stages follow one another, and each may use the time that those before it have left:

1. The worker ends. The running activity stops at its next pause point. After half of this time the last hook is called while
   the activity still runs; at its end, four fifths of the grace period, the worker is killed.
2. Requests and watches are answered, for a tenth of the grace period.
3. Tracking writes what waits, delivers it to the remotes and closes the store. A quarter of its time, but no more than a
   second, is kept to log what remains and to close the store.
4. The process ends: a twentieth of the grace period, but no more than a tenth of a second. Threads that hang are left behind.

A second signal leaves half a second for all stages that are not over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import NamedTuple

from mistk_service.deadline import Clock, Deadline

__all__ = ["Dismissal", "Shutdown"]

#: Parts of the grace period; see the module. They add up to one.
_LAST_HOOK, _WORKER, _REQUESTS, _TRACKING, _EXIT = 0.4, 0.4, 0.1, 0.05, 0.05

#: Seconds of the grace period by default.
GRACE = 10.0

#: Seconds that the end of the process takes at most.
_LONGEST_EXIT = 0.1

#: The part of tracking's time that is kept for closing the store, and the most that it is, in seconds.
_CLOSING, _LONGEST_CLOSING = 0.25, 1.0

#: Seconds that are left after a second signal.
_URGENT = 0.5


class Dismissal(NamedTuple):
    """The deadlines of a worker that has been dismissed.

    Attributes:
        last_hook: when its last hook is called, even if its activity still runs.
        kill: when it is killed.
    """

    last_hook: Deadline
    kill: Deadline


class Shutdown:
    """Owns the end of the service: when it begins, and by when each stage must be over.

    Args:
        grace: seconds from the beginning until the process has ended.
        clock: a monotonic clock, in seconds.
        on_begin: called when the shutdown begins.
    """

    def __init__(
        self, grace: float = GRACE, *, clock: Clock = time.monotonic, on_begin: Callable[[], None] = lambda: None
    ) -> None:
        self._grace = grace
        self._on_begin = on_begin
        self._begun = False
        self._executors: list[Executor] = []
        #: The exit code of a process that is cut off.
        self.exit_code = 0
        exit_time = min(_LONGEST_EXIT, grace * _EXIT)
        #: When the process has ended. Infinitely far away until the shutdown begins, as are those that follow.
        self.end = Deadline(clock=clock)
        #: When the interpreter has ended; what has not is cut off.
        self.process = self.end.within(reserve=exit_time / 2)
        #: When threads have ended; those that have not are left behind.
        self.threads = self.end.within(reserve=exit_time)

    @property
    def worker_grace(self) -> float:
        """The seconds that a worker gets to end."""
        return self._grace * (_LAST_HOOK + _WORKER)

    def begin(self) -> None:
        """Let the grace period begin. A second call changes nothing."""
        if not self._begun:
            self._begun = True
            self.end.bring_forward(self._grace)
            self._on_begin()

    def hasten(self) -> None:
        """Leave half a second for everything."""
        self.begin()
        self.end.bring_forward(_URGENT)

    def dismissal(self) -> Dismissal:
        """Return the deadlines of a worker that is dismissed now, by the shutdown or by a reset."""
        return Dismissal(self.end.within(self._grace * _LAST_HOOK), self.end.within(self.worker_grace))

    def requests(self) -> Deadline:
        """Return until when requests are answered that are under way now."""
        return self.end.within(self._grace * _REQUESTS, reserve=self._grace * (_TRACKING + _EXIT))

    def delivery(self) -> Deadline:
        """Return until when tracking, which ends from now on, writes and delivers what there is."""
        return self.threads.within(reserve=min(_LONGEST_CLOSING, self.threads.left() * _CLOSING))

    def register(self, executor: Executor) -> None:
        """Have an executor shut down at the end, whatever its threads are doing."""
        self._executors.append(executor)

    def shut_down_executors(self) -> None:
        """Let the threads of executors end when they have done what they are at."""
        for executor in self._executors:
            executor.shutdown(wait=False, cancel_futures=True)
