"""The schema of a database: made, upgraded, or refused.

A new database gets the tables at once and is stamped with the newest revision, which spares the start of a container
the loading of Alembic; an older one is upgraded by the migrations, and a test holds the two ways against each other.
All of it happens in one transaction under a lock, so of several processes that start at once one does the work and the
others wait.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from sqlalchemy import Connection, inspect

from mistk_service.tracking.errors import SchemaMismatch, StoreUnavailable
from mistk_service.tracking.sql.database import Database
from mistk_service.tracking.sql.faults import translated
from mistk_service.tracking.sql.journal_tables import metadata

__all__ = ["REVISIONS", "prepare"]

#: The revisions of the schema, oldest first; each has a migration of that name.
REVISIONS = ("0001", "0002", "0003")

#: Any number, but the same for all: it is the name of a lock in PostgreSQL.
_LOCK = 7_316_825_641
#: Seconds between two tries to change the journal, which does not wait for locks by itself.
_RETRY = 0.02


def prepare(database: Database, artifact_root: str) -> None:
    """Bring the schema of a database to the newest revision, creating it where there is none.

    Raises:
        SchemaMismatch: a newer version wrote it, or it holds something else; it was not touched.
        StoreUnavailable: it cannot be read or written now.
    """
    with translated():
        if _is_current(database):
            return
        _set_journal(database)
        with database.engine.connect() as connection:
            _lock(connection, database)
            try:
                _bring_up_to_date(connection, artifact_root)
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                connection.exec_driver_sql("ROLLBACK")
                raise


def _is_current(database: Database) -> bool:
    if database.file is not None and not database.file.exists():
        return False
    with database.engine.connect() as connection:
        found = _revision(connection)
        if found is None:
            _refuse_foreign_tables(connection)
        return found == REVISIONS[-1]


def _set_journal(database: Database) -> None:
    """Set the journal of an SQLite file; it stays set for every connection, also of other processes."""
    if database.journal_mode is None:
        return
    deadline = time.monotonic() + database.patience
    while True:
        try:
            connection = sqlite3.connect(database.url.database or "", timeout=database.patience)
            try:
                connection.execute(f"PRAGMA journal_mode = {database.journal_mode}")
            finally:
                connection.close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise StoreUnavailable(f"The store {database.url.database} cannot be opened: {error}.") from error
            time.sleep(_RETRY)
        except sqlite3.DatabaseError as error:
            raise StoreUnavailable(f"The store {database.url.database} cannot be opened: {error}.") from error
        else:
            return


def _lock(connection: Connection, database: Database) -> None:
    if database.is_sqlite:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql("BEGIN")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")


def _bring_up_to_date(connection: Connection, artifact_root: str) -> None:
    # Once more, now that nobody else can change it.
    found = _revision(connection)
    if found is None:
        _refuse_foreign_tables(connection)
        _create(connection, artifact_root)
    elif found != REVISIONS[-1]:
        _upgrade(connection)


def _create(connection: Connection, artifact_root: str) -> None:
    from mistk_service.tracking.sql.experiments import insert_default_experiment

    metadata.create_all(connection, checkfirst=False)
    connection.exec_driver_sql(
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
        "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{REVISIONS[-1]}')")  # noqa: S608  # a constant
    insert_default_experiment(connection, artifact_root)


def _upgrade(connection: Connection) -> None:
    # Alembic is loaded only when there is something to upgrade.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, REVISIONS[-1])


def _revision(connection: Connection) -> str | None:
    """Return the revision of the schema, or None where there is none.

    Raises:
        SchemaMismatch: it is none that this version knows.
    """
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if found is not None and found not in REVISIONS:
        raise SchemaMismatch(
            f"The store's schema has the revision {found!r}, which this version does not know (it knows "
            f"{', '.join(REVISIONS)}): a newer version wrote it, or another program. It was left untouched. Use the "
            "version that wrote it, upgrade this one, or give another store.",
            found=found,
            expected=REVISIONS[-1],
        )
    return found


def _refuse_foreign_tables(connection: Connection) -> None:
    taken = sorted(set(inspect(connection).get_table_names()) & set(metadata.tables))
    if taken:
        raise SchemaMismatch(
            f"The database has tables named {', '.join(taken)} and no revision of the schema, so they are not this "
            "program's. It was left untouched. Give an empty database.",
            found=None,
            expected=REVISIONS[-1],
        )
