"""One remote's forwarder: tries to deliver, waits after failures, and knows how the remote stands."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from mistk_service.tracking.artifacts import ArtifactRepository
from mistk_service.tracking.errors import StoreError
from mistk_service.tracking.replication.backoff import Backoff
from mistk_service.tracking.replication.delivery import Delivery
from mistk_service.tracking.replication.remote import Remote
from mistk_service.tracking.replication.state import RemoteState
from mistk_service.tracking.store.outbox import Lease, Ledger, OutboxStore

__all__ = ["Forwarder"]

logger = logging.getLogger(__name__)

#: Seconds between two looks into the journal. What comes in between is sent together.
_INTERVAL = 1.0


class Forwarder:
    """Delivers the journal to one remote.

    :meth:`step` does one piece of the work and never waits; :meth:`run` calls it until the forwarder is closed.

    Args:
        store: the local store.
        artifacts: where its artifacts are.
        name: the remote's URI without secrets.
        open_remote: opens the remote; called again after it failed.
        clock: seconds that only go up.
        wall_clock: seconds since 1970.
        backoff: how long to wait after failures.
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
        #: Whether the remote has answered since it was opened, and whether it is being asked for that now.
        self._answered = self._asking = False
        self._oldest: float | None = None
        self._state = RemoteState(name)
        self._closing = threading.Event()

    def state(self) -> RemoteState:
        """Return how the remote stands, as of the last step."""
        state = self._state
        waited = None if self._oldest is None else max(0.0, self._wall_clock() - self._oldest)
        retry_in = None if self._retry_at is None else max(0.0, self._retry_at - self._clock())
        return RemoteState(
            state.remote, state.depth, waited, state.refused, self._connected, self._last_error, state.last_success,
            retry_in,
        )  # fmt: skip

    def step(self) -> bool:
        """Deliver a window of the journal, unless it is too early after a failure.

        Returns:
            Whether the next step should follow at once, because there may be more to deliver.
        """
        more = False
        if self._retry_at is None or self._clock() >= self._retry_at:
            more = self._attempt()
        self.look()
        return more

    def run(self) -> None:
        """Deliver until the forwarder is closed and everything is delivered, or a try fails after it was closed."""
        try:
            while not self._closing.is_set():
                if not self.step():
                    self._closing.wait(_INTERVAL)
            # A last try, however long the remote has been away.
            self._retry_at = None
            while self.step():
                pass
        finally:
            self._close_remote()

    @property
    def asking(self) -> bool:
        """Whether the remote is being asked whether it is there, which delivers nothing and need not be waited for."""
        return self._asking

    def close(self) -> None:
        """Let :meth:`run` deliver what there is, and end."""
        self._closing.set()

    def _attempt(self) -> bool:
        """Try to deliver, and note how it went."""
        try:
            more = self._deliver()
        except StoreError as error:
            self._failed(error, getattr(error, "retry_after", None))
            return False
        except Exception as error:
            # A mistake of ours must not end the thread, and with it the delivery of everything else.
            logger.exception("Forwarding to %s failed unexpectedly.", self._name)
            self._failed(error, None)
            return False
        self._retry_at = None
        if self._answered:
            if self._last_error is not None:
                logger.info("Forwarding to %s goes on.", self._name)
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
                # Another process delivers; what it has delivered is not this one's to deliver, so all is to be looked at anew.
                self._delivery = None
                return False
            if lease is Lease.ACQUIRED:
                self._delivery.doubt()
            # When the service ends, what can be delivered is, and nobody is told any more how the remote stands.
            if not self._answered and not self._closing.is_set():
                self._ask(self._remote)
            more = self._delivery.deliver()
            self._answered = self._answered or more
            return more

    def _ask(self, remote: Remote) -> None:
        """Ask the remote whether it is there and believes who is asking, although there may be nothing to deliver yet."""
        self._asking = True
        try:
            remote.check()
        finally:
            self._asking = False
        self._answered = True

    def _failed(self, error: Exception, retry_after: float | None) -> None:
        wait = self._backoff.next(retry_after)
        message = str(error) or type(error).__name__
        if message != self._last_error:
            logger.warning("Forwarding to %s waits, the next try is in %.0f s: %s", self._name, wait, message)
            self._remember(message)
        self._last_error = message
        self._connected = False
        self._retry_at = self._clock() + wait

    def _remember(self, message: str) -> None:
        """Write an error where other processes see it, if that is possible."""
        if self._ledger is not None:
            try:
                self._ledger.failed(message)
            except StoreError:
                logger.debug("The error could not be noted.", exc_info=True)

    def look(self) -> None:
        """Look how much there is to deliver, for :meth:`state`."""
        if self._ledger is None:
            return
        try:
            backlog = self._store.journal.backlog(self._ledger.number)
            known = self._store.journal.remote(self._ledger.number)
        except StoreError:
            # The local store cannot be read now; the next step looks again.
            return
        self._oldest = None if backlog.oldest is None else backlog.oldest / 1000
        self._state = RemoteState(self._name, backlog.depth, refused=known.refused, last_success=known.last_success)

    def _close_remote(self) -> None:
        if self._remote is not None:
            self._remote.close()
