"""Translates the errors of the databases to those of the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

from mistk_service.tracking.errors import InvalidParameter, StoreError, StoreUnavailable

#: Seconds after which a call that found the database busy may be sent again.
_SOON = 1.0

# SQLite's primary result codes; the higher bits of an extended code are details.
_SQLITE_REASONS: dict[int, tuple[str, float | None]] = {
    sqlite3.SQLITE_BUSY: ("the database is locked by another process", _SOON),
    sqlite3.SQLITE_LOCKED: ("the database is locked by another connection", _SOON),
    sqlite3.SQLITE_FULL: ("the disk is full, or the database has reached its size limit", None),
    sqlite3.SQLITE_IOERR: ("the disk cannot be read or written, or is full", None),
    sqlite3.SQLITE_READONLY: ("the database file cannot be written", None),
    sqlite3.SQLITE_CANTOPEN: (
        "the database file cannot be opened; it and its folder have to be writable, since SQLite keeps a log next to it",
        None,
    ),
    sqlite3.SQLITE_NOMEM: ("there is not enough memory", _SOON),
    sqlite3.SQLITE_PERM: ("access to the database file is denied", None),
    sqlite3.SQLITE_CORRUPT: ("the database file is damaged; restore it from a copy", None),
    sqlite3.SQLITE_NOTADB: ("the file is not an SQLite database", None),
    sqlite3.SQLITE_INTERRUPT: ("the call was interrupted", _SOON),
    sqlite3.SQLITE_PROTOCOL: ("the database is locked by another process", _SOON),
}

# PostgreSQL's SQLSTATE classes.
_POSTGRES_REASONS: dict[str, tuple[str, float | None]] = {
    "08": ("the connection to the database server is broken", _SOON),
    "25006": ("the database is read-only", None),
    "40": ("the transaction was in conflict with another", _SOON),
    "53": ("the database server has run out of disk space, memory or connections", None),
    "55P03": ("a row is locked by another connection", _SOON),
    "57": ("the database server is stopping or has cancelled the call", _SOON),
    "58": ("the database server has a system error", None),
}
#: Invalid text, a number out of range, an index entry that is too big.
_POSTGRES_BAD_VALUES = ("22", "54")
#: A serialization failure, a deadlock, and two that only another process can cause, by creating or removing the same
#: item between a read and a write: when the transaction is repeated, it succeeds, or finds the real reason.
_POSTGRES_CONFLICTS = ("40001", "40P01", "23503", "23505")


def _sqlite_code(error: exc.DBAPIError) -> int | None:
    code = getattr(error.orig, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def _sqlstate(error: exc.DBAPIError) -> str:
    state = getattr(error.orig, "sqlstate", None)
    return state if isinstance(state, str) else ""


def translate(error: exc.SQLAlchemyError) -> StoreError:
    """Return the error of the store for an error of the database."""
    if isinstance(error, exc.TimeoutError):
        return StoreUnavailable("The store is busy: no connection to its database became free.", retry_after=_SOON)
    if not isinstance(error, exc.DBAPIError):
        return StoreError(f"The store failed: {error}")
    reason = _reason(error)
    if reason is not None:
        text, retry_after = reason
        return StoreUnavailable(f"The store cannot be used now: {text} ({_detail(error)}).", retry_after=retry_after)
    if _sqlstate(error).startswith(_POSTGRES_BAD_VALUES):
        return InvalidParameter(f"The database cannot hold a value of the request: {_detail(error)}.")
    return StoreError(f"The database refused a statement: {_detail(error)}.")


def _reason(error: exc.DBAPIError) -> tuple[str, float | None] | None:
    code = _sqlite_code(error)
    if code is not None:
        return _SQLITE_REASONS.get(code)
    state = _sqlstate(error)
    for prefix, reason in _POSTGRES_REASONS.items():
        if state.startswith(prefix):
            return reason
    if error.connection_invalidated or (isinstance(error, exc.OperationalError) and not state):
        return "the database server cannot be reached", _SOON
    return None


def _detail(error: exc.DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error.orig).__name__


def ends_the_transaction(error: BaseException) -> bool:
    """Return whether an error may have rolled back more than its own statement, so that the whole transaction is void."""
    if not isinstance(error, exc.DBAPIError):
        return False
    return error.connection_invalidated or _reason(error) is not None


def is_conflict(error: BaseException) -> bool:
    """Return whether the same transaction may succeed when it is repeated."""
    return isinstance(error, exc.DBAPIError) and _sqlstate(error) in _POSTGRES_CONFLICTS


@contextmanager
def translated() -> Iterator[None]:
    """Translate the errors of the database in the block to those of the store."""
    try:
        yield
    except exc.SQLAlchemyError as error:
        raise translate(error) from error
