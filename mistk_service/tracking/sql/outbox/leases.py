"""Turns at a remote: of all processes that have a store open, one at a time delivers to it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO

from mistk_service.tracking.errors import StoreUnavailable
from mistk_service.tracking.sql.engine.database import Database

__all__ = ["Turn", "Turns"]

#: Any number, but the same for all: the first half of the names of the locks in PostgreSQL.
_LOCKS = 731_682


class Turn(IntEnum):
    """Whether somebody who wants a turn has got it; only what is not ``TAKEN`` is true."""

    TAKEN = 0
    #: It is the same one as before.
    AGAIN = 1
    #: Another one had it before, perhaps, and may have sent what nobody has noted.
    AFTER_ANOTHER = 2


class Turns:
    """Takes turns by means of what ends with the process that has one: a file lock, or PostgreSQL's advisory locks.

    Args:
        database: the store's.
    """

    def __init__(self, database: Database) -> None:
        self._db = database
        self._guard = threading.Lock()
        self._taken: set[int] = set()
        self._name = uuid.uuid4().bytes

    @contextmanager
    def take(self, number: int) -> Iterator[Turn]:
        """Try to take the turn at a remote, without waiting for it, and give whether that was possible."""
        with self._guard:
            free = number not in self._taken
            self._taken.add(number)
        if not free:
            yield Turn.TAKEN
            return
        try:
            if not self._db.is_sqlite:
                with self._advisory(number) as taken:
                    yield taken
            elif self._db.file is not None:
                with _locked(self._db.file.with_name(f"{self._db.file.name}-remote{number}"), self._name) as taken:
                    yield taken
            else:
                yield Turn.AGAIN
        finally:
            with self._guard:
                self._taken.discard(number)

    @contextmanager
    def _advisory(self, number: int) -> Iterator[Turn]:
        with self._db.read() as connection:
            names = f"({_LOCKS}, {int(number)})"
            taken = bool(connection.exec_driver_sql(f"SELECT pg_try_advisory_lock{names}").scalar())
            try:
                # The lock does not tell who had it before.
                yield Turn.AFTER_ANOTHER if taken else Turn.TAKEN
            finally:
                # A connection that broke has lost its lock by that.
                if taken and not connection.invalidated:
                    connection.exec_driver_sql(f"SELECT pg_advisory_unlock{names}")


@contextmanager
def _locked(file: Path, name: bytes) -> Iterator[Turn]:
    """Lock a file, and leave in it the name of who has done so last."""
    import fcntl

    try:
        lock = file.open("a+b")
    except OSError as error:
        raise _unusable(file, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield Turn.TAKEN
            return
        try:
            again = _is_signed(lock, name)
        except OSError as error:
            raise _unusable(file, error) from error
        yield Turn.AGAIN if again else Turn.AFTER_ANOTHER


def _is_signed(lock: BinaryIO, name: bytes) -> bool:
    """Return whether a name stands in a file, and leave it there."""
    lock.seek(0)
    if lock.read() == name:
        return True
    lock.truncate(0)
    lock.write(name)
    lock.flush()
    return False


def _unusable(file: Path, error: OSError) -> StoreUnavailable:
    return StoreUnavailable(
        f"The file {file}, by which processes take turns at a remote, cannot be written: {error.strerror}."
    )
