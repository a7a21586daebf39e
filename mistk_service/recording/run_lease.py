"""The lease of a container on its runs, in a store that containers on many machines share.

A container renews its lease as long as it lives. If it does not, because it was killed or cannot reach the store, another
container ends its runs. So that no run has two writers, a container whose lease may have expired holds its writes back. If the
others were faster, its recording continues in a new run.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from mistk_service.deadline import Deadline
from mistk_service.recording.retry import RetryTimeout
from mistk_service.tracking.errors import StoreError, StoreUnavailable

if TYPE_CHECKING:
    from mistk_service.tracking.sql.writer_leases import WriterLeases

logger = logging.getLogger(__name__)

#: The part of a lease after which it is renewed, and the part for which the container relies on it. A write that begins just
#: before has the rest to reach the store.
_RENEWED, _TRUSTED = 1 / 3, 2 / 3


class LeaseExpired(Exception):
    """Another container has ended the runs of this one."""


class RunLease:
    """Holds the lease of a container, and ends the runs of those whose lease has expired. May be used from any thread.

    Args:
        leases: the leases in the store.
        writer: the id of this container.
        seconds: how long the lease is valid without being renewed.
        end_runs: ends the runs of another container, given its id and when it was last seen, in ms since 1970.

    Attributes:
        term: the number of times that the lease was lost. Runs opened in an earlier term are not to be written to.
    """

    def __init__(self, leases: WriterLeases, writer: str, seconds: float, end_runs: Callable[[str, int], None]) -> None:
        self._leases = leases
        self._writer = writer
        self._seconds = seconds
        self._end_runs = end_runs
        self.term = 0
        self._held = True
        self._trusted_until = 0.0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tracking-lease", daemon=True)

    def start(self) -> None:
        """Take the lease, and keep it on a thread.

        Raises:
            StoreError: it cannot be taken now.
        """
        self._acquire()
        self._thread.start()

    def require(self, term: int) -> None:
        """Make sure that a run that was opened in a term may be written to now.

        Raises:
            LeaseExpired: another container has ended the runs of that term.
            StoreUnavailable: the lease may have expired; try again later.
        """
        if term != self.term:
            raise LeaseExpired
        if time.monotonic() >= self._trusted_until:
            raise StoreUnavailable(
                f"The lease of this container on its runs was not renewed for {self._seconds * _TRUSTED:g} s. Reports wait "
                "until it is, so that no run has two writers."
            )

    def is_held_by_another(self, writer: str) -> bool:
        """Return whether a container other than this one holds a lease.

        Raises:
            StoreError: the leases cannot be read now.
        """
        return writer != self._writer and self._leases.exists(writer)

    def close(self, deadline: Deadline, *, done: bool) -> None:
        """End the thread. The lease is released if the runs are ended (``done``); otherwise it expires."""
        self._ending.set()
        if self._thread.ident is not None:
            deadline.join(self._thread)
        if done:
            with suppress(StoreError):
                self._leases.release(self._writer)

    def _run(self) -> None:
        while not self._ending.wait(self._seconds * _RENEWED):
            try:
                self._renew()
                self._claim()
            except (StoreError, RetryTimeout) as error:
                logger.warning("The lease on the runs cannot be renewed now: %s", error)
            except Exception:  # the thread has to survive: without a renewal the runs are taken to be orphaned
                logger.exception("The lease on the runs cannot be renewed now.")

    def _renew(self) -> None:
        started = time.monotonic()
        if self._held and self._leases.renew(self._writer, self._seconds):
            self._trusted_until = started + self._seconds * _TRUSTED
        elif not self._held or not self._leases.exists(self._writer):  # it was claimed, and the runs are ended
            if self._held:
                logger.warning("Another container has ended the runs of this one, since its lease had expired.")
                # Before the new lease is taken, which would allow writes to the runs of the old one.
                self.term += 1
                self._held = False
            self._acquire()
            self._held = True

    def _acquire(self) -> None:
        started = time.monotonic()
        self._leases.acquire(self._writer, self._seconds)
        self._trusted_until = started + self._seconds * _TRUSTED

    def _claim(self) -> None:
        while (claimed := self._leases.claim_expired(self._writer, self._seconds)) is not None:
            writer, last_seen = claimed
            self._end_runs(writer, last_seen)
            self._leases.release(writer, self._writer)
            self._renew()  # there may be many, after a machine has failed
