"""Files go their own way to where artifacts are kept, on a thread of their own: no param, point or status waits for them.

Each place that files go to has a queue. While a place cannot take a file, it is tried again, and the files of other places go
on. A file that a place cannot take for about an hour is given up, with a word, and the next one is tried.
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

__all__ = ["DELAYS", "FileLane", "Job"]

logger = logging.getLogger(__name__)

#: Seconds between the attempts for one place; after the last one its next file is given up.
DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, *[60.0] * 60)

#: The same when the service ends.
_LAST_DELAYS = (0.1, 0.3)

#: Files that are named in the log when the service ends without them.
_NAMED = 20


@dataclass(frozen=True)
class Job:
    """Something to do with a file, or what comes after it.

    Attributes:
        about: what it is about, in words.
        do: does it and returns what is to be done next, before everything else that goes to the place. It is called again
            after ``StoreUnavailable``; after anything else that it raises it is given up.
        give_up: is given the reason why it was not done.
        claims: a copy in the spool that is needed for it.
    """

    about: str
    do: Callable[[], Iterable[Job]]
    give_up: Callable[[Exception], None]
    claims: Path | None = None


@dataclass
class _Place:
    """What goes to one place, how often in a row that failed, and when it is tried next, on the monotonic clock."""

    jobs: deque[Job] = field(default_factory=deque)
    failures: int = 0
    due: float = 0.0


class FileLane:
    """See the module. :meth:`put` may be called from any thread.

    Args:
        obstacle: is told what keeps files from being stored, and None when they can be stored again.
        delays: seconds between the attempts for one place.
    """

    def __init__(self, obstacle: Callable[[str | None], None], *, delays: Sequence[float] = DELAYS) -> None:
        self._obstacle = obstacle
        self._obstacles: dict[str, str] = {}
        self._delays = delays
        self._places: dict[str, _Place] = {}
        self._news = threading.Condition()
        self._ending = False
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """How many files, and other things, wait."""
        with self._news:
            return sum(len(place.jobs) for place in self._places.values())

    def claims(self) -> frozenset[Path]:
        """Return the copies in the spool that are still needed."""
        with self._news:
            jobs = [job for place in self._places.values() for job in place.jobs]
        return frozenset(job.claims for job in jobs if job.claims is not None)

    def put(self, place: str, job: Job) -> None:
        """Have something done, after everything else that goes to the same place."""
        with self._news:
            self._places.setdefault(place, _Place()).jobs.append(job)
            self._news.notify_all()

    def start(self) -> None:
        """Begin, on a thread."""
        self._thread = threading.Thread(target=self._run, name="tracking-files", daemon=True)
        self._thread.start()

    def close(self, deadline: Deadline) -> None:
        """Do what there is, and wait for that until the deadline; a place that cannot take it is tried a few times only."""
        with self._news:
            self._ending = True
            self._delays = _LAST_DELAYS
            for place in self._places.values():
                place.due, place.failures = 0.0, min(place.failures, 1)
            self._news.notify_all()
        if self._thread is not None:
            deadline.join(self._thread)

    def tell_rest(self) -> None:
        """Say in the log what is given up because the service ends."""
        with self._news:
            rest = [job.about for place in self._places.values() for job in place.jobs]
        if rest:
            more = f" and {len(rest) - _NAMED} more" if len(rest) > _NAMED else ""
            logger.error("The service ends before these are kept: %s%s.", ", ".join(rest[:_NAMED]), more)

    def work(self) -> None:
        """Do all that is due now."""
        while (found := self._due()) is not None:
            self._attempt(*found)

    # --- on the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self.work()
            with self._news:
                waiting = [place.due for place in self._places.values() if place.jobs]
                if not waiting and self._ending:
                    return
                delay = min(waiting) - time.monotonic() if waiting else None
                if delay is None or delay > 0:
                    self._news.wait(delay)

    def _due(self) -> tuple[str, _Place] | None:
        now = time.monotonic()
        with self._news:
            due = [(place.due, name) for name, place in self._places.items() if place.jobs and place.due <= now]
            if not due:
                return None
            _, name = min(due)
            return name, self._places[name]

    def _attempt(self, name: str, place: _Place) -> None:
        job = place.jobs[0]
        try:
            following = list(job.do())
        except StoreUnavailable as error:
            if self._is_tried_again(place):
                self._show(name, str(error))
                return
            self._give_up(job, error)
        except Exception as error:  # noqa: BLE001 - it is said, and costs this file and no other
            self._give_up(job, error)
        else:
            place.failures = 0
            self._show(name, None)
            with self._news:
                place.jobs.popleft()
                place.jobs.extendleft(reversed(following))
                # In turns with the other places, so that none waits for a large folder of another.
                place.due = time.monotonic()
            return
        with self._news:
            place.jobs.popleft()
            if not place.jobs:
                self._show(name, None)

    def _is_tried_again(self, place: _Place) -> bool:
        """Count a failure, and return whether there is another attempt for the same file."""
        if place.failures >= len(self._delays):
            return False
        with self._news:
            place.due = time.monotonic() + self._delays[place.failures]
            place.failures += 1
        return True

    def _give_up(self, job: Job, error: Exception) -> None:
        try:
            job.give_up(error)
        except Exception:
            logger.exception("%s was given up, and what belongs to that could not be done.", job.about)

    def _show(self, name: str, reason: str | None) -> None:
        before = dict(self._obstacles)
        if reason is None:
            self._obstacles.pop(name, None)
        else:
            self._obstacles[name] = reason
        if self._obstacles != before:
            self._obstacle(next(iter(self._obstacles.values()), None))
