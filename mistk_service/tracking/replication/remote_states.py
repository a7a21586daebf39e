"""The states of remotes for the status, the metrics and the command line."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from mistk_service.tracking.store.outbox import KnownRemote, OutboxStore, Refusal


@dataclass(frozen=True, slots=True)
class RemoteState:
    """The state of a remote.

    Attributes:
        remote: its URI without secrets.
        depth: the number of changes that it has yet to receive.
        oldest_seconds: how long the oldest of them has been waiting, or None.
        refused: the number of items that it refused permanently.
        connected: whether it has responded, and the last attempt to deliver succeeded.
        last_error: why the last attempt failed, or None.
        last_success: the time of the last delivery, in ms since 1970, or None.
        retry_in: seconds until the next attempt after a failure, or None.
    """

    remote: str
    depth: int = 0
    oldest_seconds: float | None = None
    refused: int = 0
    connected: bool = False
    last_error: str | None = None
    last_success: int | None = None
    retry_in: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object; what is None is left out."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class OutboxReport:
    """The changes that remotes have yet to receive, and those that they have refused.

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
