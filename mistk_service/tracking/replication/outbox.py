"""The outbox of a store as a whole: what remotes have yet to get, and what they have refused."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from mistk_service.tracking.replication.state import RemoteState
from mistk_service.tracking.store.outbox import KnownRemote, OutboxStore, Refusal

__all__ = ["Outbox", "outbox_of"]


@dataclass(frozen=True)
class Outbox:
    """The outbox of a store.

    Attributes:
        remotes: the remotes that are configured.
        former: the names of those that were, or that runs were brought over to by hand.
        refusals: what remotes have refused, the last first.
    """

    remotes: tuple[RemoteState, ...]
    former: tuple[str, ...]
    refusals: tuple[Refusal, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "remotes": [state.to_json() for state in self.remotes],
            "former": list(self.former),
            "refused": [asdict(refusal) for refusal in self.refusals],
        }


def outbox_of(store: OutboxStore) -> Outbox:
    """Return the outbox of a store, whichever process delivers it."""
    known = store.journal.remotes()
    refusals = [refusal for remote in known for refusal in store.journal.ledger(remote.name).refusals()]
    return Outbox(
        tuple(_state(store, remote) for remote in known if remote.active),
        tuple(remote.name for remote in known if not remote.active),
        tuple(sorted(refusals, key=lambda refusal: refusal.last, reverse=True)),
    )


def _state(store: OutboxStore, remote: KnownRemote) -> RemoteState:
    backlog = store.journal.backlog(remote.number)
    return RemoteState(
        remote.name,
        backlog.depth,
        None if backlog.oldest is None else max(0.0, time.time() - backlog.oldest / 1000),
        remote.refused,
        remote.last_error is None and remote.last_success is not None,
        remote.last_error,
        remote.last_success,
    )
