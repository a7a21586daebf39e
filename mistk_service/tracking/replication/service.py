"""Replication of a store to all its remotes, with one thread for each."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from mistk_service.deadline import Deadline
from mistk_service.tracking.artifacts import ArtifactRepository
from mistk_service.tracking.remotes import Remote
from mistk_service.tracking.replication.backoff import Backoff
from mistk_service.tracking.replication.remote import open_remote, remote_name
from mistk_service.tracking.replication.remote_states import RemoteState
from mistk_service.tracking.replication.replicator import Replicator
from mistk_service.tracking.store.outbox import OutboxStore

if TYPE_CHECKING:
    from mistk_service.tracking.rest import RestConfig

logger = logging.getLogger(__name__)

#: Seconds between two checks of a thread that is to end.
_POLL = 0.1


class ReplicationService:
    """Copies what is written to a store to any number of remotes.

    Each remote has a thread, so that one that is unavailable does not delay the others. Writers never wait for a remote: the
    local store is written first, and keeps what a remote has yet to receive.

    Args:
        store: the local store; it has to stay open until after :meth:`close`.
        artifacts: where its artifacts are.
        remotes: URIs, or configurations. Duplicates are ignored.
        open_remote: opens a remote.
        backoff: makes the delays after failures, once for each remote.
    """

    def __init__(
        self,
        store: OutboxStore,
        artifacts: ArtifactRepository | None,
        remotes: Iterable[str | RestConfig],
        *,
        open_remote: Callable[..., Remote] = open_remote,
        backoff: Callable[[], Backoff] = Backoff,
    ) -> None:
        self._store = store
        self._replicators: dict[str, Replicator] = {}
        for remote in remotes:
            name = remote_name(remote if isinstance(remote, str) else remote.uri)
            self._replicators[name] = Replicator(
                store,
                artifacts,
                name,
                lambda remote=remote: open_remote(remote),  # type: ignore[misc]
                backoff=backoff(),
            )
        self._threads: dict[str, threading.Thread] = {}

    def start(self) -> None:
        """Start keeping changes for the remotes, and delivering them.

        What was written before this call is not delivered; :func:`~mistk_service.tracking.replication.sync.sync` copies it.
        Call this without remotes, too, so that nothing is kept for those that were configured before.

        Raises:
            StoreUnavailable: the store cannot be written now; call this again.
        """
        self._store.journal.configure(self._replicators)
        for name, replicator in self._replicators.items():
            thread = threading.Thread(target=replicator.run, name=f"replicate to {name}", daemon=True)
            self._threads[name] = thread
            thread.start()

    def states(self) -> list[RemoteState]:
        """Return the states of the remotes, in the given order. Never waits."""
        return [replicator.state() for replicator in self._replicators.values()]

    def refresh(self) -> None:
        """Update the numbers that :meth:`states` returns, even while a delivery waits for its remote."""
        for replicator in self._replicators.values():
            replicator.refresh()

    def close(self, deadline: Deadline) -> None:
        """Deliver the rest until the deadline, and stop. What remains is delivered after the next start.

        A request that is still running at the deadline is abandoned.
        """
        for replicator in self._replicators.values():
            replicator.close()
        for name, thread in self._threads.items():
            _join(thread, self._replicators[name], deadline)
        for replicator in self._replicators.values():
            replicator.refresh()
            state = replicator.state()
            if state.depth:
                logger.warning(
                    "%d changes remain to be forwarded to %s; they will be sent after the next start.",
                    state.depth,
                    state.remote,
                )


def _join(thread: threading.Thread, replicator: Replicator, deadline: Deadline) -> None:
    """Wait for a thread, unless it has nothing to deliver and its remote does not respond."""
    replicator.refresh()
    while thread.is_alive() and deadline.left():
        idle = replicator.checking and not replicator.state().depth
        if deadline.within(0.0 if idle else _POLL).join(thread) or idle:
            return
