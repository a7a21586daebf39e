"""A queue for files on their way to the artifact storage, on its own thread, so that nothing else waits for them.

Each destination has its own queue. If a destination is unavailable, its next file is retried, while other destinations
proceed. After about an hour of retries the file is dropped with a message, and the next one is tried.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mistk_service.deadline import Deadline
from mistk_service.tracking.errors import StoreUnavailable

logger = logging.getLogger(__name__)

#: Seconds between the attempts for one destination; after the last one its next file is dropped.
DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, *[60.0] * 60)

#: The same during shutdown.
_LAST_DELAYS = (0.1, 0.3)

#: The number of unsent files that are named in the log at shutdown.
_NAMED = 20


@dataclass(frozen=True)
class Job:
    """An operation on a file, or one that follows it.

    Attributes:
        about: the subject, in words.
        do: does the work and returns the jobs to do next, if any, before all others for the destination. It is called again
            after ``StoreUnavailable``; after any other error the job is dropped.
        give_up: called with the reason if the job is dropped.
        claims: a copy in the spool that the job needs.
    """

    about: str
    do: Callable[[], Iterable[Job] | None]
    give_up: Callable[[Exception], None]
    claims: Path | None = None


@dataclass
class _Destination:
    """The jobs for one destination, the failures in a row, and the time of the next attempt on the monotonic clock."""

    jobs: deque[Job] = field(default_factory=deque)
    failures: int = 0
    due: float = 0.0


class FileQueue:
    """Runs jobs on a thread, in order for each destination. :meth:`put` may be called from any thread.

    Args:
        report: called with the reason why files cannot be stored, and with None when they can be stored again.
        delays: seconds between the attempts for one destination.
    """

    def __init__(self, report: Callable[[str | None], None], *, delays: Sequence[float] = DELAYS) -> None:
        self._report = report
        self._errors: dict[str, str] = {}
        self._delays = delays
        self._destinations: dict[str, _Destination] = {}
        self._changed = threading.Condition()
        self._ending = False
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """The number of waiting jobs."""
        with self._changed:
            return sum(len(destination.jobs) for destination in self._destinations.values())

    def claims(self) -> frozenset[Path]:
        """Return the copies in the spool that waiting jobs need."""
        with self._changed:
            jobs = [job for destination in self._destinations.values() for job in destination.jobs]
        return frozenset(job.claims for job in jobs if job.claims is not None)

    def put(self, destination: str, job: Job) -> None:
        """Append a job to the queue of a destination."""
        with self._changed:
            self._destinations.setdefault(destination, _Destination()).jobs.append(job)
            self._changed.notify_all()

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="tracking-files", daemon=True)
        self._thread.start()

    def close(self, deadline: Deadline) -> None:
        """Finish the waiting jobs by the deadline, with only a few attempts for a destination that is unavailable."""
        with self._changed:
            self._ending = True
            self._delays = _LAST_DELAYS
            for destination in self._destinations.values():
                destination.due, destination.failures = 0.0, min(destination.failures, 1)
            self._changed.notify_all()
        if self._thread is not None:
            deadline.join(self._thread)

    def log_rest(self) -> None:
        """Log the jobs that are lost because the service ends."""
        with self._changed:
            rest = [job.about for destination in self._destinations.values() for job in destination.jobs]
        if rest:
            more = f" and {len(rest) - _NAMED} more" if len(rest) > _NAMED else ""
            logger.error("The service ends before these are stored: %s%s.", ", ".join(rest[:_NAMED]), more)

    def work(self) -> None:
        """Run all jobs that are due now."""
        while (found := self._due()) is not None:
            self._attempt(*found)

    # --- on the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self.work()
            with self._changed:
                waiting = [destination.due for destination in self._destinations.values() if destination.jobs]
                if not waiting and self._ending:
                    return
                delay = min(waiting) - time.monotonic() if waiting else None
                if delay is None or delay > 0:
                    self._changed.wait(delay)

    def _due(self) -> tuple[str, _Destination] | None:
        now = time.monotonic()
        with self._changed:
            due = [
                (destination.due, name)
                for name, destination in self._destinations.items()
                if destination.jobs and destination.due <= now
            ]
            if not due:
                return None
            _, name = min(due)
            return name, self._destinations[name]

    def _attempt(self, name: str, destination: _Destination) -> None:
        job = destination.jobs[0]
        try:
            following = list(job.do() or ())
        except StoreUnavailable as error:
            if self._will_retry(destination):
                self._show(name, str(error))
                return
            self._give_up(job, error)
        except Exception as error:  # noqa: BLE001 - the file's handler logs it; other files are not affected
            self._give_up(job, error)
        else:
            destination.failures = 0
            self._show(name, None)
            with self._changed:
                destination.jobs.popleft()
                destination.jobs.extendleft(reversed(following))
                # Take turns with the other destinations, so that none waits for a large folder of another.
                destination.due = time.monotonic()
            return
        with self._changed:
            destination.jobs.popleft()
            if not destination.jobs:
                self._show(name, None)

    def _will_retry(self, destination: _Destination) -> bool:
        """Count a failure, and return whether there will be another attempt for the same file."""
        if destination.failures >= len(self._delays):
            return False
        with self._changed:
            destination.due = time.monotonic() + self._delays[destination.failures]
            destination.failures += 1
        return True

    def _give_up(self, job: Job, error: Exception) -> None:
        try:
            job.give_up(error)
        except Exception:  # the thread has to survive, since other files are waiting
            logger.exception("%s was dropped, and its handler failed.", job.about)

    def _show(self, name: str, reason: str | None) -> None:
        before = dict(self._errors)
        if reason is None:
            self._errors.pop(name, None)
        else:
            self._errors[name] = reason
        if self._errors != before:
            self._report(next(iter(self._errors.values()), None))
