"""Replication to one remote: delivers, retries after failures, and reports the remote's state."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from mistk_service.tracking.artifacts import ArtifactRepository
from mistk_service.tracking.errors import StoreError
from mistk_service.tracking.remotes import Remote
from mistk_service.tracking.replication.backoff import Backoff
from mistk_service.tracking.replication.delivery import Delivery
from mistk_service.tracking.replication.remote_states import RemoteState
from mistk_service.tracking.store.outbox import Lease, Ledger, OutboxStore

logger = logging.getLogger(__name__)

#: Seconds between two reads of the journal. Changes made in between are sent together.
_INTERVAL = 1.0


class Replicator:
    """Delivers the journal to one remote.

    :meth:`step` does one piece of the work and never waits. :meth:`run` calls it until the replicator is closed.

    Args:
        store: the local store.
        artifacts: where its artifacts are.
        name: the remote's URI without secrets.
        open_remote: opens the remote; called again after a failure.
        clock: a monotonic clock, in seconds.
        wall_clock: seconds since 1970.
        backoff: the delays after failures.
    """

    def __init__(
        self,
        store: OutboxStore,
        artifacts: ArtifactRepository | None,
        name: str,
        open_remote: Callable[[], Remote],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        backoff: Backoff | None = None,
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._name = name
        self._open_remote = open_remote
        self._clock = clock
        self._wall_clock = wall_clock
        self._backoff = backoff or Backoff()
        self._ledger: Ledger | None = None
        self._remote: Remote | None = None
        self._delivery: Delivery | None = None
        self._retry_at: float | None = None
        self._last_error: str | None = None
        self._connected = False
        #: Whether the remote has responded since it was opened.
        self._answered = False
        #: Whether a connection check is in progress. It delivers nothing, so that shutdown need not wait for it.
        self.checking = False
        self._oldest: float | None = None
        self._state = RemoteState(name)
        self._closing = threading.Event()

    def state(self) -> RemoteState:
        """Return the remote's state as of the last step."""
        return replace(
            self._state,
            oldest_seconds=None if self._oldest is None else max(0.0, self._wall_clock() - self._oldest),
            connected=self._connected,
            last_error=self._last_error,
            retry_in=None if self._retry_at is None else max(0.0, self._retry_at - self._clock()),
        )

    def step(self) -> bool:
        """Deliver a window of the journal, unless the delay after a failure is not over.

        Returns:
            Whether there may be more to deliver, so that the next step should follow at once.
        """
        more = False
        if self._retry_at is None or self._clock() >= self._retry_at:
            more = self._attempt()
        self.refresh()
        return more

    def run(self) -> None:
        """Deliver until the replicator is closed. Then deliver the rest, until an attempt fails."""
        try:
            while not self._closing.is_set():
                if not self.step():
                    self._closing.wait(_INTERVAL)
            # A last attempt, however long the remote has been unavailable.
            self._retry_at = None
            while self.step():
                pass
        finally:
            if self._remote is not None:
                self._remote.close()

    def close(self) -> None:
        """Make :meth:`run` deliver the rest and return."""
        self._closing.set()

    def _attempt(self) -> bool:
        """Try to deliver, and record the result."""
        try:
            more = self._deliver()
        except Exception as error:
            if not isinstance(error, StoreError):
                # A bug must not end the thread, and with it the delivery of everything else.
                logger.exception("Replication to %s failed unexpectedly.", self._name)
            self._failed(error)
            return False
        self._retry_at = None
        if self._answered:
            if self._last_error is not None:
                logger.info("Replication to %s resumed.", self._name)
            self._last_error = None
            self._connected = True
            self._backoff.reset()
        return more

    def _deliver(self) -> bool:
        if self._ledger is None:
            self._ledger = self._store.journal.ledger(self._name)
        if self._remote is None:
            self._remote = self._open_remote()
        if self._delivery is None:
            self._delivery = Delivery(self._store, self._artifacts, self._remote, self._ledger)
        with self._store.journal.lease(self._ledger.number) as lease:
            if not lease:
                # Another process delivers. Afterwards, what it has recorded has to be read again.
                self._delivery = None
                return False
            if lease is Lease.ACQUIRED:
                self._delivery.assume_sent()
            # During shutdown, the state is not reported any more, and the time is better spent on delivery.
            if not self._answered and not self._closing.is_set():
                self._check(self._remote)
            more = self._delivery.deliver()
            self._answered = self._answered or more
            return more

    def _check(self, remote: Remote) -> None:
        """Check the connection and the login, although there may be nothing to deliver yet."""
        self.checking = True
        try:
            remote.check()
        finally:
            self.checking = False
        self._answered = True

    def _failed(self, error: Exception) -> None:
        # An unexpected error may have an attribute of that name that is something else.
        wait = self._backoff.next(getattr(error, "retry_after", None) if isinstance(error, StoreError) else None)
        message = str(error) or type(error).__name__
        if message != self._last_error:
            logger.warning("Replication to %s failed, the next attempt is in %.0f s: %s", self._name, wait, message)
            self._remember(message)
        self._last_error = message
        self._connected = False
        self._retry_at = self._clock() + wait

    def _remember(self, message: str) -> None:
        """Record an error in the store, where other processes see it, if that is possible."""
        if self._ledger is not None:
            try:
                self._ledger.failed(message)
            except StoreError:
                logger.debug("The error could not be recorded.", exc_info=True)

    def refresh(self) -> None:
        """Update the numbers that :meth:`state` returns."""
        if self._ledger is None:
            return
        try:
            backlog = self._store.journal.backlog(self._ledger.number)
            known = self._store.journal.remote(self._ledger.number)
        except StoreError:
            # The local store cannot be read now; the next step tries again.
            return
        self._oldest = None if backlog.oldest is None else backlog.oldest / 1000
        self._state = RemoteState(self._name, backlog.depth, refused=known.refused, last_success=known.last_success)
