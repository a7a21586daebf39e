"""The outbox of a store: the changes that remotes have yet to receive, and the state of each remote.

Replication works with these interfaces alone. The SQL store implements them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from mistk_service.tracking.store._store import Store
from mistk_service.tracking.values.changes import Change
from mistk_service.tracking.values.uploads import UploadNotes


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the journal.

    Attributes:
        seq: its number; later rows have greater ones.
        run_id: the run that changed.
        change: the change.
    """

    seq: int
    run_id: str
    change: Change


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a remote has yet to receive.

    Attributes:
        depth: the number of changes.
        oldest: when the first of them was made, in ms since 1970, or None.
    """

    depth: int
    oldest: int | None


@dataclass(frozen=True, slots=True)
class KnownRemote:
    """A remote that the store knows.

    Attributes:
        number: its number in the journal and the ledger.
        name: its URI without secrets.
        active: whether it is configured, so that changes are kept for it.
        position: the last row that it has.
        last_error: why the last attempt to deliver failed, or None if it succeeded.
        last_success: the time of the last delivery, in ms since 1970.
        refused: the number of items that it refused permanently.
    """

    number: int
    name: str
    active: bool
    position: int
    last_error: str | None
    last_success: int | None
    refused: int


@dataclass(frozen=True, slots=True)
class MappedRun:
    """The state of a run at a remote.

    Attributes:
        remote_run_id: its id there, or None if it may or may not have been created.
        complete: whether it was copied up to ``covered``, so that it lacks only later rows of the journal.
        covered: the last row of the journal that the copy includes.
        doubtful: the copy may include rows up to this one.
        deleted: whether it was deleted there because it was deleted here.
    """

    remote_run_id: str | None
    complete: bool
    covered: int
    doubtful: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that a remote refused permanently.

    Attributes:
        remote: the remote's URI without secrets.
        run_id: the run's id in this store.
        what: what was refused, in words.
        reason: the remote's last error message.
        items: the number of refusals of this kind.
        last: the time of the last one, in ms since 1970.
    """

    remote: str
    run_id: str
    what: str
    reason: str
    items: int
    last: int


class Lease(IntEnum):
    """The result of an attempt to lease a remote. Only ``HELD_ELSEWHERE`` is false."""

    HELD_ELSEWHERE = 0
    #: This store object was the last holder, too.
    RENEWED = 1
    #: Another holder may have sent something without recording it.
    ACQUIRED = 2


class Ledger(Protocol):
    """What a store knows about one remote. Every method may be called from any thread.

    Attributes:
        number: the remote's number in the journal.
        name: its URI without secrets.
    """

    number: int
    name: str

    def find(self, run_id: str) -> MappedRun | None:
        """Return the state of a run, or None if copying it was never attempted."""

    def begin(self, run_id: str) -> None:
        """Record that a run is about to be created there."""

    def map(self, run_id: str, remote_run_id: str) -> None:
        """Record the run's id there; the run is not complete."""

    def complete(self, run_id: str, covered: int, doubtful: int) -> None:
        """Record that a run was copied; see :class:`MappedRun` for the rows."""

    def mark_incomplete(self, run_id: str) -> None:
        """Record that something of a run is missing there."""

    def mark_deleted(self, run_id: str, deleted: bool) -> None:
        """Record whether the run is deleted there because it is deleted here."""

    def forget(self, run_id: str) -> None:
        """Forget a run that no longer exists at the remote, and its files there."""

    def other_run(self, run_id: str) -> tuple[str, str] | None:
        """Return the ids, here and there, of the latest other run that was copied and not deleted, if any."""

    def incomplete(self) -> list[str]:
        """Return the runs whose copies are incomplete."""

    def sent_file(self, run_id: str, path: str) -> str | None:
        """Return the etag that a file had when it was sent, or None."""

    def file_sent(self, run_id: str, path: str, etag: str) -> None:
        """Record that a file with this etag was sent, and that no upload of it is in progress."""

    def uploads(self, run_id: str) -> set[str]:
        """Return the paths of the files of a run that are being uploaded."""

    def upload(self, run_id: str, path: str) -> UploadNotes:
        """Return the notes about the upload of a file."""

    def refuse(self, run_id: str, what: str, reason: str, items: int = 1) -> None:
        """Record what the remote refused; refusals of the same kind are counted together."""

    def clear_refusals(self, run_id: str) -> None:
        """Forget what was refused of a run, because all of it is about to be sent again."""

    def refusals(self) -> list[Refusal]:
        """Return what was refused, the last first."""

    def failed(self, error: str) -> None:
        """Record why delivery to the remote failed."""


class Journal(Protocol):
    """The changes of a store's runs, kept until each configured remote has them. Methods may be called from any thread."""

    def configure(self, names: Iterable[str]) -> None:
        """Set the remotes for which changes are kept, for every process that has the store open.

        A new remote receives what changes from now on, and each run that changes as a whole. For a remote that is left
        out, the changes that it has not received are dropped. The store remembers which runs those were, so that it
        receives them when it is configured again.

        Args:
            names: URIs without secrets.
        """

    def remotes(self) -> list[KnownRemote]:
        """Return the remotes that the store knows, the configured ones first."""

    def remote(self, number: int) -> KnownRemote:
        """Return one of them."""

    def ledger(self, name: str) -> Ledger:
        """Return the ledger of a remote; a new name is added to the known remotes."""

    def lease(self, number: int) -> AbstractContextManager[Lease]:
        """Try, without waiting, to become the only process that delivers to a remote, and return the result.

        The lease ends with the context, or with the process.
        """

    def last(self) -> int:
        """Return the number of the last row. What is read afterwards includes every change up to it."""

    def read(self, number: int) -> list[Entry]:
        """Return the next rows for a remote, in order, up to a limit of rows and bytes.

        Until something is acknowledged, later calls return the same rows, and possibly more after them.
        """

    def has_more(self, run_id: str, seq: int) -> bool:
        """Return whether there are rows of a run after a row."""

    def backlog(self, number: int) -> Backlog:
        """Return what a remote has yet to receive."""

    def acknowledge(self, number: int, seq: int) -> None:
        """Record that a remote has everything up to a row, and remove what all remotes have."""


class OutboxStore(Store):
    """A store that keeps an outbox."""

    @property
    @abstractmethod
    def journal(self) -> Journal:
        """The changes that remotes have yet to receive."""
