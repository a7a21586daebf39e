"""Turns at a remote: of all processes that have a store open, one at a time delivers to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mistk_service.tracking.errors import StoreUnavailable
from mistk_service.tracking.sql.database import Database

__all__ = ["Turns"]

#: Any number, but the same for all: the first half of the names of the locks in PostgreSQL.
_LOCKS = 731_682


class Turns:
    """Takes turns by means of what ends with the process that has one: a file lock, or PostgreSQL's advisory locks.

    Args:
        database: the store's.
    """

    def __init__(self, database: Database) -> None:
        self._db = database
        self._guard = threading.Lock()
        self._taken: set[int] = set()

    @contextmanager
    def take(self, number: int) -> Iterator[bool]:
        """Try to take the turn at a remote, without waiting for it, and give whether it was free."""
        with self._guard:
            free = number not in self._taken
            self._taken.add(number)
        if not free:
            yield False
            return
        try:
            if not self._db.is_sqlite:
                with self._advisory(number) as taken:
                    yield taken
            elif self._db.file is not None:
                with _locked(self._db.file.with_name(f"{self._db.file.name}-remote{number}")) as taken:
                    yield taken
            else:
                yield True
        finally:
            with self._guard:
                self._taken.discard(number)

    @contextmanager
    def _advisory(self, number: int) -> Iterator[bool]:
        with self._db.read() as connection:
            names = f"({_LOCKS}, {int(number)})"
            taken = bool(connection.exec_driver_sql(f"SELECT pg_try_advisory_lock{names}").scalar())
            try:
                yield taken
            finally:
                # A connection that broke has lost its lock by that.
                if taken and not connection.invalidated:
                    connection.exec_driver_sql(f"SELECT pg_advisory_unlock{names}")


@contextmanager
def _locked(file: Path) -> Iterator[bool]:
    import fcntl

    try:
        lock = file.open("wb")
    except OSError as error:
        raise StoreUnavailable(
            f"The file {file}, by which processes take turns at a remote, cannot be made: {error.strerror}."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
