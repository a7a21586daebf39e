"""The forwarders of a store, one for each remote, each on a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from mistk_service.tracking.artifacts import ArtifactRepository
from mistk_service.tracking.replication.backoff import Backoff
from mistk_service.tracking.replication.forwarder import Forwarder
from mistk_service.tracking.replication.remote import Remote, RemoteConfig, remote_name
from mistk_service.tracking.replication.remotes import open_remote
from mistk_service.tracking.replication.state import RemoteState
from mistk_service.tracking.store.outbox import OutboxStore

__all__ = ["Forwarders"]

logger = logging.getLogger(__name__)

#: Seconds between two looks at a thread that is to end.
_LOOK = 0.1


class Forwarders:
    """Forwards what is written to a store to any number of remotes.

    Each remote has a thread, so one that is away holds up nobody else. What is written is not touched by any of it: the
    local store is written first, and keeps what a remote has yet to get.

    Args:
        store: the local store; it has to stay open until after :meth:`close`.
        artifacts: where its artifacts are.
        remotes: URIs, or configurations that have one. A remote that is named twice is taken once.
        open_remote: opens a remote.
        clock: seconds that only go up.
        backoff: makes what says how long to wait after failures; for each remote one.
    """

    def __init__(
        self,
        store: OutboxStore,
        artifacts: ArtifactRepository | None,
        remotes: Iterable[str | RemoteConfig],
        *,
        open_remote: Callable[..., Remote] = open_remote,
        clock: Callable[[], float] = time.monotonic,
        backoff: Callable[[], Backoff] = Backoff,
    ) -> None:
        self._store = store
        self._forwarders: dict[str, Forwarder] = {}
        for remote in remotes:
            name = remote_name(remote if isinstance(remote, str) else remote.uri)
            self._forwarders[name] = Forwarder(
                store,
                artifacts,
                name,
                lambda remote=remote: open_remote(remote),  # type: ignore[misc]
                clock=clock,
                backoff=backoff(),
            )
        self._threads: dict[str, threading.Thread] = {}

    def start(self) -> None:
        """Begin to keep what is written for the remotes, and to deliver it.

        What is written before this call is not forwarded; see :func:`mistk_service.tracking.replication.sync`. To be called
        without any remotes too, so that nothing is kept for those that were configured before.

        Raises:
            StoreUnavailable: the store cannot be written; call it again.
        """
        self._store.journal.configure(self._forwarders)
        for name, forwarder in self._forwarders.items():
            thread = threading.Thread(target=forwarder.run, name=f"forward to {name}", daemon=True)
            self._threads[name] = thread
            thread.start()

    def states(self) -> list[RemoteState]:
        """Return how the remotes stand, in the order they were given; cheap, and never waits."""
        return [forwarder.state() for forwarder in self._forwarders.values()]

    def look(self) -> None:
        """Look how much there is to deliver, for :meth:`states`; also while a remote keeps its forwarder waiting."""
        for forwarder in self._forwarders.values():
            forwarder.look()

    def close(self, deadline: float) -> None:
        """Deliver what there is, for some seconds at most, and stop. What remains is delivered after the next start.

        Args:
            deadline: seconds from now. A request that is on its way then is left to itself.
        """
        for forwarder in self._forwarders.values():
            forwarder.close()
        end = time.monotonic() + deadline
        for name, thread in self._threads.items():
            _join(thread, self._forwarders[name], end)
        for forwarder in self._forwarders.values():
            forwarder.look()
            state = forwarder.state()
            if state.depth:
                logger.warning(
                    "%d changes remain to be forwarded to %s; the next start goes on with them.",
                    state.depth,
                    state.remote,
                )


def _join(thread: threading.Thread, forwarder: Forwarder, end: float) -> None:
    """Wait for a forwarder's thread until ``end``, unless it has nothing to deliver and a remote that does not answer."""
    forwarder.look()
    while thread.is_alive() and (left := end - time.monotonic()) > 0:
        if forwarder.asking and not forwarder.state().depth:
            return
        thread.join(min(left, _LOOK))
