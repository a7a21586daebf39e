"""Checkpoints of SQLite's write-ahead log, outside of the writes.

By default, SQLite makes a checkpoint in the commit that finds the log long enough, so that one write in some hundred waits
for the disk. Here a thread makes it on a separate connection, while writes continue. Commits are durable in the log, so it
does not matter when they are moved to the database file.
"""

from __future__ import annotations

import logging
import threading
from contextlib import AbstractContextManager
from queue import SimpleQueue
from typing import Any

from sqlalchemy import Connection, Engine, exc

_log = logging.getLogger(__name__)

#: The number of commits between two checkpoints.
_EVERY = 256

#: The length of the log, in pages, above which writes wait for a checkpoint so that the log can start over.
_LONG = 4000

#: The length of the log, in pages, at which SQLite makes a checkpoint itself, in case the thread fails.
LONGEST_LOG = 16_000


class Checkpoints:
    """Makes checkpoints of one SQLite file after a number of commits; ``writing`` is held during writes."""

    def __init__(self, engine: Engine, writing: AbstractContextManager[Any]) -> None:
        self._engine = engine
        self._writing = writing
        self._commits = 0
        self._requests: SimpleQueue[bool] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def committed(self) -> None:
        """Count a commit; the caller holds the lock for writing."""
        self._commits += 1
        if self._commits < _EVERY:
            return
        self._commits = 0
        if self._thread is None:
            thread = threading.Thread(target=self._serve, name="tracking-checkpoints", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                # The write has been committed and must not fail. The next attempt follows after the same number of commits.
                _log.warning("The write-ahead log cannot be moved into the database now: %s", error)
                return
            self._thread = thread
        self._requests.put(True)

    def close(self) -> None:
        """End the thread after the pending checkpoint. There must be no further writes."""
        if self._thread is not None:
            self._requests.put(False)
            self._thread.join()

    def _serve(self) -> None:
        while self._requests.get():
            try:
                with self._engine.connect() as connection:
                    self._move(connection)
            except exc.SQLAlchemyError as error:
                # The log only becomes longer; if the disk is full, the next write reports that.
                _log.warning("The write-ahead log could not be moved into the database: %s", error)

    def _move(self, connection: Connection) -> None:
        pages, moved = _checkpoint(connection)
        if moved < pages and pages >= _LONG:
            # The log only starts over once all of it has been moved, which never happens while there is always a writer.
            with self._writing:
                _checkpoint(connection)


def _checkpoint(connection: Connection) -> tuple[int, int]:
    """Move the pages that no reader needs any more; return the number of pages in the log, and of those moved."""
    _, pages, moved = connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()
    return pages, moved
