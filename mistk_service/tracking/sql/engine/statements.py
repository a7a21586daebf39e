"""Prepared statements that bypass SQLAlchemy's compilation and cursors.

Even with its cache, SQLAlchemy's compilation takes several times as long as SQLite needs for a small statement, and so does
its cursor. A prepared statement keeps the driver's text and only binds values; with SQLite it goes to the driver directly.
If the engine has listeners on its statements, they go through SQLAlchemy.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

from sqlalchemy import ARRAY, BIGINT, Connection, Dialect, Executable, bindparam, column, exc, func, select
from sqlalchemy.sql import Select
from sqlalchemy.types import TypeEngine

from mistk_service.tracking.errors import StoreUnavailable

_BIGINT = BIGINT()

#: The execution option that limits how many rows a statement may return.
MOST_ROWS = "mistk_most_rows"

#: The row of an insert, and how many of them one statement gets.
_VALUES = re.compile(r"VALUES (\([?, ]+\))")
_TOGETHER = 50


class Prepared:
    """A statement in the text of one database's driver, compiled when it is first used.

    Values are not converted, so only columns whose types the driver supports may be used:
    whole numbers, doubles and text.
    """

    def __init__(self, statement: Executable, dialect: Dialect) -> None:
        self._statement = statement
        self._dialect = dialect

    @cached_property
    def _compiled(self) -> tuple[str, Sequence[str] | None]:
        """The text, and the names of the positional values, if any."""
        compiled = self._statement.compile(dialect=self._dialect)  # type: ignore[attr-defined]  # every one of ours compiles
        # A statement must not have constants, since they would have to be bound too.
        return str(compiled), compiled.positiontup if compiled.positional else None

    @property
    def sql(self) -> str:
        """The text."""
        return self._compiled[0]

    @property
    def _names(self) -> Sequence[str] | None:
        return self._compiled[1]

    @cached_property
    def _many(self) -> str:
        return _VALUES.sub(lambda values: f"VALUES {', '.join([values[1]] * _TOGETHER)}", self.sql)

    def execute(self, connection: Connection, **values: Any) -> None:
        """Execute it once."""
        _run(connection, self.sql, self._bound(values))

    def rows(self, connection: Connection, **values: Any) -> Sequence[Any]:
        """Execute it and return all its rows."""
        return fetched(connection, _run(connection, self.sql, self._bound(values)))

    def execute_rows(self, connection: Connection, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Execute it for every row with one call; without rows, do nothing.

        Args:
            connection: the connection.
            names: the names of the values in each row.
            rows: the values.
        """
        if rows:
            _run(connection, self.sql, self._bound_rows(names, rows))

    def insert_rows(self, connection: Connection, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Do the same with an insert of single rows; SQLite gets many rows with each statement.

        In SQLite, each execution takes as long as several rows.
        """
        whole = len(rows) // _TOGETHER * _TOGETHER if _driver(connection) is not None else 0
        if whole:
            bound = self._bound_rows(names, rows[:whole])
            for first in range(0, whole, _TOGETHER):
                _run(connection, self._many, tuple(chain.from_iterable(bound[first : first + _TOGETHER])))
        self.execute_rows(connection, names, rows[whole:])

    def _bound_rows(self, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> list[Any]:
        if self._names is None:
            return [dict(zip(names, row, strict=True)) for row in rows]
        if list(names) == list(self._names):
            return list(rows)
        places = [names.index(name) for name in self._names]
        return [tuple([row[place] for place in places]) for row in rows]

    def _bound(self, values: Mapping[str, Any]) -> Any:
        return dict(values) if self._names is None else tuple([values[name] for name in self._names])


def fetched(connection: Connection, result: Any) -> Sequence[Any]:
    """Return all rows of a result.

    Raises:
        StoreUnavailable: there are more than the execution option ``MOST_ROWS`` of the connection allows.
    """
    most = connection.get_execution_options().get(MOST_ROWS)
    rows: Sequence[Any] = result.fetchall() if most is None else result.fetchmany(most + 1)
    if most is not None and len(rows) > most:
        result.close()
        raise StoreUnavailable(f"There are more than {most} rows, which take long to read.", retry_after=0.0)
    return rows


def run_text(connection: Connection, sql: str) -> None:
    """Execute a statement that has neither parameters nor rows, such as ``COMMIT``."""
    _run(connection, sql, ())


def _run(connection: Connection, sql: str, bound: Any) -> Any:
    """Execute a statement, for each of a list of parameters, and return its cursor.

    Raises:
        DBAPIError: the database refused it, by either path.
    """
    driver = _driver(connection)
    if driver is None:
        return connection.exec_driver_sql(sql, bound)
    try:
        return driver.executemany(sql, bound) if isinstance(bound, list) else driver.execute(sql, bound)
    except sqlite3.Error as error:
        raise exc.DBAPIError.instance(sql, bound, error, sqlite3.Error) from error


def _driver(connection: Connection) -> sqlite3.Connection | None:
    """Return SQLite's own connection, or None for another database or an engine with listeners on its statements."""
    engine = connection.engine
    if engine.dialect.name != "sqlite" or engine.dispatch.before_cursor_execute or engine.dispatch.after_cursor_execute:
        return None
    driver: sqlite3.Connection | None = connection.connection.driver_connection
    return driver


def members(dialect: Dialect, name: str = "ids", kind: TypeEngine[Any] = _BIGINT) -> Select[Any]:
    """Return a subquery of the members of one parameter, numbers by default.

    So the statement is the same for a list of any length. :func:`ids_parameter` makes the parameter's value.
    """
    if dialect.name == "sqlite":
        listed = func.json_each(bindparam(name)).table_valued(column("value"))
        return select(listed.c.value)
    return select(func.unnest(bindparam(name, type_=ARRAY(kind))))


def ids_parameter(dialect: Dialect, ids: Sequence[int] | Sequence[str]) -> Any:
    """Return the value for the parameter of :func:`members`."""
    return json.dumps(list(ids)) if dialect.name == "sqlite" else list(ids)
