"""The schedule of a graceful shutdown. The grace period is divided here and nowhere else.

The stages follow one another. Each stage may use the time that the earlier stages have left:

1. The worker exits. The running activity stops at its next pause point. After half of this stage, the last hook is called
   even if the activity is still running. At the end of the stage, after four fifths of the grace period, the worker is
   killed.
2. Open requests and watches are answered. This takes up to a tenth of the grace period.
3. Tracking writes and delivers what is waiting, and closes the store. A quarter of this stage, but at most one second, is
   reserved for logging what remains and closing the store.
4. The process exits. This takes up to a twentieth of the grace period, but at most a tenth of a second. Threads that hang
   are abandoned.

A second signal leaves half a second for all remaining stages.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor

from mistk_service.deadline import Clock, Deadline

#: The fractions of the grace period for each stage. They add up to one.
_LAST_HOOK, _WORKER, _REQUESTS, _TRACKING, _EXIT = 0.4, 0.4, 0.1, 0.05, 0.05

#: The default grace period in seconds.
GRACE = 10.0

#: The maximum time for exiting the process, in seconds.
_LONGEST_EXIT = 0.1

#: The part of tracking's time that is reserved for closing the store: a fraction, and a maximum in seconds.
_CLOSING, _LONGEST_CLOSING = 0.25, 1.0

#: The time that is left after a second signal, in seconds.
_URGENT = 0.5


class Shutdown:
    """Tracks the shutdown of the service: when it begins, and the deadline of each stage.

    Args:
        grace: the grace period in seconds, from the beginning until the process has ended.
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
        #: The exit code of the process.
        self.exit_code = 0
        exit_time = min(_LONGEST_EXIT, grace * _EXIT)
        #: The deadline of the process. Infinite until the shutdown begins, like the following ones.
        self.end = Deadline(clock=clock)
        #: The deadline of the interpreter. After that, the process is forced to exit.
        self.process = self.end.within(reserve=exit_time / 2)
        #: The deadline of threads. After that, they are abandoned.
        self.threads = self.end.within(reserve=exit_time)

    @property
    def worker_grace(self) -> float:
        """The time that a worker has to exit, in seconds."""
        return self._grace * (_LAST_HOOK + _WORKER)

    def begin(self) -> None:
        """Begin the grace period. Further calls change nothing."""
        if not self._begun:
            self._begun = True
            self.end.bring_forward(self._grace)
            self._on_begin()

    def cut_short(self) -> None:
        """Reduce the remaining time to half a second."""
        self.begin()
        self.end.bring_forward(_URGENT)

    def stop_deadlines(self) -> tuple[Deadline, Deadline]:
        """Return when the last hook of a worker that is asked to end now is called, and when the worker is killed."""
        return self.end.within(self._grace * _LAST_HOOK), self.end.within(self.worker_grace)

    def requests(self) -> Deadline:
        """Return the deadline for answering the requests in progress."""
        return self.end.within(self._grace * _REQUESTS, reserve=self._grace * (_TRACKING + _EXIT))

    def delivery(self) -> Deadline:
        """Return the deadline for tracking to write and deliver what is waiting. Call it when tracking begins to close."""
        return self.threads.within(reserve=min(_LONGEST_CLOSING, self.threads.left() * _CLOSING))

    def register(self, executor: Executor) -> None:
        """Register an executor to be shut down last, whatever its threads are doing."""
        self._executors.append(executor)

    def shut_down_executors(self) -> None:
        """Let the threads of executors end after their current task."""
        for executor in self._executors:
            executor.shutdown(wait=False, cancel_futures=True)
