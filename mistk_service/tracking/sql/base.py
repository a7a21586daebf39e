"""The base of the parts of the SQL store."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from sqlalchemy import ColumnElement, Connection, Executable, Row, Table, bindparam
from sqlalchemy.dialects import sqlite

from mistk_service.tracking.sql.engine.database import Database
from mistk_service.tracking.sql.engine.statements import Prepared, fetched
from mistk_service.tracking.sql.search.queries import Query
from mistk_service.tracking.values import Param, Tag
from mistk_service.tracking.values.page import Page

Pair = TypeVar("Pair", Tag, Param)
T = TypeVar("T")


class SqlPart:
    """A part of the store, with the database and its dialect."""

    def __init__(self, database: Database, artifact_root: str = "") -> None:
        self._db = database
        self._dialect = database.engine.dialect
        self._artifact_root = artifact_root

    def _insert(self, table: Table) -> sqlite.Insert:
        """Return an insert with support for ON CONFLICT, which is the same in both databases."""
        if self._db.is_sqlite:
            return sqlite.insert(table)
        # Not loaded for SQLite, the usual database.
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)  # type: ignore[return-value]  # the same methods, without a common class

    def _prepare(self, statement: Executable) -> Prepared:
        return Prepared(statement, self._dialect)

    def _insert_row(self, table: Table) -> sqlite.Insert:
        """Return an insert with a parameter for each column."""
        return self._insert(table).values({column.name: bindparam(column.name) for column in table.c})

    def _upsert_values(self, table: Table, *, parameters: bool = False) -> sqlite.Insert:
        """Return an insert of keys and values that replaces the value of an existing key."""
        insert = self._insert_row(table) if parameters else self._insert(table)
        return insert.on_conflict_do_update(
            index_elements=[column.name for column in table.primary_key], set_={"value": insert.excluded.value}
        )

    def _put_pairs(
        self, connection: Connection, table: Table, owner: Mapping[str, Any], items: Iterable[Tag | Param]
    ) -> None:
        """Set keys to values, replacing existing ones."""
        rows = [{**owner, "key": item.key, "value": item.value} for item in items]
        if rows:
            connection.execute(self._upsert_values(table), rows)

    def _search(
        self,
        query: Query,
        columns: Sequence[ColumnElement[Any]],
        max_results: int,
        page_token: str | None,
        read: Callable[[Connection, Sequence[Row[Any]]], Iterable[T]],
    ) -> Page[T]:
        """Return a page of a search; ``read`` converts its rows to values and may read more in the same snapshot."""
        statement = query.statement(columns, max_results, page_token)
        with self._db.snapshot() as connection:
            rows: Sequence[Row[Any]] = connection.execute(statement).fetchall()
            found = tuple(read(connection, rows[:max_results]))
        return Page(found, query.next_token(rows, max_results))


def now() -> int:
    """Return the time in ms since 1970."""
    return time.time_ns() // 1_000_000


def below(location: str, path: str) -> str:
    """Return the URI of a path below a location, which may end with a query."""
    parts = urlsplit(location)
    # Without a scheme it is a file's path, in which a question mark is like any other character.
    if not parts.scheme or "?" not in location:
        return f"{location.rstrip('/')}/{path}"
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{path}"))


def json_list(text: str | None) -> list[Any]:
    """Return the list in a tag; any other value, which a client may have written, is discarded."""
    try:
        value = json.loads(text) if text else []
    except ValueError:
        return []
    return value if isinstance(value, list) else []


def grouped(rows: Sequence[Any], kind: type[Pair]) -> dict[Any, tuple[Pair, ...]]:
    """Return the pairs of each owner, from rows of (owner, key, value) that are sorted by owner and key."""
    found: defaultdict[Any, list[Pair]] = defaultdict(list)
    for owner, key, value in rows:
        found[owner].append(kind(key, value))
    return {owner: tuple(items) for owner, items in found.items()}


def pairs(connection: Connection, table: Table, kind: type[Pair], *conditions: ColumnElement[bool]) -> tuple[Pair, ...]:
    """Return the pairs of one owner, sorted by key."""
    rows = connection.execute(table.select().with_only_columns(table.c.key, table.c.value).where(*conditions))
    return tuple(kind(key, value) for key, value in sorted(map(tuple, fetched(connection, rows))))
