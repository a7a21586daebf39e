"""Leases of remotes: of all processes that have a store open, one at a time delivers to a remote."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mistk_service.tracking.errors import StoreUnavailable
from mistk_service.tracking.sql.engine.database import Database
from mistk_service.tracking.store.outbox import Lease

#: The first key of the advisory locks in PostgreSQL: an arbitrary number, the same for all processes.
_LOCKS = 731_682


class Leases:
    """Grants leases that end with the process at the latest: file locks, or PostgreSQL's advisory locks."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._guard = threading.Lock()
        self._taken: set[int] = set()
        self._name = uuid.uuid4().bytes

    @contextmanager
    def take(self, number: int) -> Iterator[Lease]:
        """Try to lease a remote, without waiting, and return the result."""
        with self._guard:
            free = number not in self._taken
            self._taken.add(number)
        if not free:
            yield Lease.HELD_ELSEWHERE
            return
        try:
            if not self._db.is_sqlite:
                with self._advisory(number) as taken:
                    yield taken
            elif self._db.file is not None:
                with _locked(self._db.file.with_name(f"{self._db.file.name}-remote{number}"), self._name) as taken:
                    yield taken
            else:
                yield Lease.RENEWED
        finally:
            with self._guard:
                self._taken.discard(number)

    @contextmanager
    def _advisory(self, number: int) -> Iterator[Lease]:
        with self._db.read() as connection:
            names = f"({_LOCKS}, {int(number)})"
            taken = bool(connection.exec_driver_sql(f"SELECT pg_try_advisory_lock{names}").scalar())
            try:
                # The lock does not record the previous holder.
                yield Lease.ACQUIRED if taken else Lease.HELD_ELSEWHERE
            finally:
                # A broken connection has lost its lock.
                if taken and not connection.invalidated:
                    connection.exec_driver_sql(f"SELECT pg_advisory_unlock{names}")


@contextmanager
def _locked(file: Path, name: bytes) -> Iterator[Lease]:
    """Lock a file, and write the name of the holder into it."""
    import fcntl

    try:
        lock = file.open("a+b")
    except OSError as error:
        raise _unusable(file, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield Lease.HELD_ELSEWHERE
            return
        try:
            again = _is_signed(lock, name)
        except OSError as error:
            raise _unusable(file, error) from error
        yield Lease.RENEWED if again else Lease.ACQUIRED


def _is_signed(lock: BinaryIO, name: bytes) -> bool:
    """Return whether a file contains a name, and write it if not."""
    lock.seek(0)
    if lock.read() == name:
        return True
    lock.truncate(0)
    lock.write(name)
    lock.flush()
    return False


def _unusable(file: Path, error: OSError) -> StoreUnavailable:
    return StoreUnavailable(f"The file {file}, which holds the lease of a remote, cannot be written: {error.strerror}.")
