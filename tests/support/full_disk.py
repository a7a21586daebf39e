"""Simulates a full disk for SQLite by a limit on the pages of the database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, event

from mistk_service.tracking.sql import SqlStore

#: Pages that no test fills.
_PLENTY = 1_000_000


class Disk:
    """The disk below a store, with plenty of room at first."""

    def __init__(self, store: SqlStore) -> None:
        self._database = store.database
        self._pages = _PLENTY
        # The writer takes a new connection where SQLite has undone a transaction by itself.
        event.listen(self._database.engine, "checkout", self._limit)

    def leave(self, pages: int) -> None:
        """Leave room for so many pages more."""
        with self._database.read() as connection:
            self._pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one() + pages
        self._database.write(self._limit_writer)

    def clear(self) -> None:
        """Make plenty of room."""
        self._pages = _PLENTY
        self._database.write(self._limit_writer)

    def _limit(self, connection: Any, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {self._pages}")

    def _limit_writer(self, connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {self._pages}")
