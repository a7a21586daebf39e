"""The outbox of a store as a report: what remotes have yet to receive, and what they have refused."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from mistk_service.tracking.replication.remote_state import RemoteState
from mistk_service.tracking.store.outbox import KnownRemote, OutboxStore, Refusal

__all__ = ["OutboxReport", "outbox_report"]


@dataclass(frozen=True)
class OutboxReport:
    """What remotes have yet to receive, and what they have refused.

    Attributes:
        remotes: the configured remotes.
        former: the names of remotes that are not configured any more, or that only ``sync`` has copied to.
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


def outbox_report(store: OutboxStore) -> OutboxReport:
    """Return the report for a store, whichever process delivers its changes."""
    known = store.journal.remotes()
    refusals = [refusal for remote in known for refusal in store.journal.ledger(remote.name).refusals()]
    return OutboxReport(
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
