"""Moving the write-ahead log of SQLite into the database file, aside from the writes.

SQLite does it by itself in whichever commit finds the log long enough, so that one write in some hundred waits for the
disk while all others do not. Here a thread does it on a connection of its own, while writes go on. What was committed is in
the log all the same; when it is moved makes no difference to what survives.
"""

from __future__ import annotations

import logging
import threading
from contextlib import AbstractContextManager
from queue import SimpleQueue
from typing import Any

from sqlalchemy import Connection, Engine, exc

_log = logging.getLogger(__name__)

#: Commits after which the log is moved.
_EVERY = 256

#: Pages of a log that is to start over, for which writes wait the moment that the last few pages take.
_LONG = 4000

#: Pages at which SQLite does it by itself after all, so that the log stays finite if the thread fails.
LONGEST_LOG = 16_000


class Checkpoints:
    """Moves the log of one SQLite file every so many commits; ``writing`` is held while something is written."""

    def __init__(self, engine: Engine, writing: AbstractContextManager[Any]) -> None:
        self._engine = engine
        self._writing = writing
        self._commits = 0
        self._asked: SimpleQueue[bool] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def committed(self) -> None:
        """Note a commit; the caller holds the lock for writing."""
        self._commits += 1
        if self._commits < _EVERY:
            return
        self._commits = 0
        if self._thread is None:
            thread = threading.Thread(target=self._serve, name="tracking-checkpoints", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                # The write has been committed and must not fail. The next attempt is after as many commits.
                _log.warning("The write-ahead log cannot be moved into the database now: %s", error)
                return
            self._thread = thread
        self._asked.put(True)

    def close(self) -> None:
        """End the thread, once it has done what it was asked for. Nothing is written any more."""
        if self._thread is not None:
            self._asked.put(False)
            self._thread.join()

    def _serve(self) -> None:
        while self._asked.get():
            try:
                with self._engine.connect() as connection:
                    self._move(connection)
            except exc.SQLAlchemyError as error:
                # The log only stays longer; if nothing can be written any more, the next write says so.
                _log.warning("The write-ahead log could not be moved into the database: %s", error)

    def _move(self, connection: Connection) -> None:
        pages, moved = _checkpoint(connection)
        if moved < pages and pages >= _LONG:
            # It starts over only from a moment at which all of it has been moved, which never comes as long as there
            # is always a writer.
            with self._writing:
                _checkpoint(connection)


def _checkpoint(connection: Connection) -> tuple[int, int]:
    """Move the pages whose old form has no readers any more; return how many pages the log has, and how many are moved."""
    _, pages, moved = connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()
    return pages, moved
