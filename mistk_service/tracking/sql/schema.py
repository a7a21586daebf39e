"""Creates, upgrades or refuses the schema of a database.

A new database gets the tables directly and is stamped with the newest revision, so that a container starts without loading
Alembic. An older one is upgraded by the migrations; a test checks that both give the same schema.
All of it happens in one transaction under a lock, so of several processes that start at once one does the work and the
others wait.
"""

from __future__ import annotations

import shlex
import sqlite3
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from sqlalchemy import URL, Connection, create_mock_engine, exc, inspect

from mistk_service.tracking.errors import ResourceNotFound, SchemaMismatch, StoreUnavailable
from mistk_service.tracking.sql.engine.database import Database
from mistk_service.tracking.sql.engine.errors import translated
from mistk_service.tracking.sql.outbox.tables import journal

#: All tables; those of the journal are added last.
metadata = journal.metadata

#: The revisions of the schema, oldest first; each has a migration of that name.
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")

#: Tables that every revision has.
_KERNEL = frozenset({"experiments", "runs"})
_UNTOUCHED = "It was not changed. Use an empty database, or a file that does not exist yet."
#: The foreign keys between the tables of an SQLite file.
_REFERENCES = (
    'SELECT DISTINCT s.name, f."table" FROM sqlite_master AS s, pragma_foreign_key_list(s.name) AS f '
    "WHERE s.type = 'table'"
)
#: The key of an advisory lock in PostgreSQL: an arbitrary number, the same for all processes.
_LOCK = 7_316_825_641
#: Seconds between two attempts to change the journal mode, for which SQLite does not wait for locks.
_RETRY = 0.02


_NOT_WRITABLE = (
    "The store {} cannot be written, so it can neither be created nor upgraded: {}. Its folder has to be writable, too; copy "
    "it to a writable one."
)


def prepare(database: Database, artifact_root: str, *, create: bool = True) -> None:
    """Upgrade the schema of a database to the newest revision, or create it.

    Args:
        database: the database.
        artifact_root: the URI below which experiments get their artifact folders.
        create: whether to create a missing schema.

    Raises:
        ResourceNotFound: there is none, and ``create`` is false.
        SchemaMismatch: a newer version wrote it, or it has other contents, or another program has added a table to it that
            keeps it from being written; it was not changed.
        StoreUnavailable: it cannot be read or written now.
    """
    with translated():
        if _is_current(database, create=create):
            return
        _set_journal(database)
        with database.engine.connect() as connection:
            _lock(connection, database)
            try:
                _create_or_upgrade(connection, artifact_root)
                connection.exec_driver_sql("COMMIT")
            except BaseException:  # also for Ctrl-C
                connection.exec_driver_sql("ROLLBACK")
                raise


def _is_current(database: Database, *, create: bool) -> bool:
    found = None
    if database.file is None or database.file.exists():
        with database.engine.connect() as connection:
            found = _revision(connection)
            if found is None:
                _refuse_foreign_tables(connection)
            elif database.is_sqlite:
                _refuse_invalid_references(connection, database.url.database or "")
    if found is None and not create:
        where = database.shown_url
        raise ResourceNotFound(
            f"There is no store at {where}. Give the address of an existing store. 'mistk-service tracking serve --store ...' "
            "creates one, and so does a container in its state directory."
        )
    return found == REVISIONS[-1]


def _set_journal(database: Database) -> None:
    """Set the journal of an SQLite file; it stays set for every connection, also of other processes."""
    if database.journal_mode is None:
        return
    deadline = time.monotonic() + database.lock_timeout
    while True:
        try:
            connection = sqlite3.connect(database.url.database or "", timeout=database.lock_timeout)
            try:
                connection.execute(f"PRAGMA journal_mode = {database.journal_mode}")
            finally:
                connection.close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise StoreUnavailable(_NOT_WRITABLE.format(database.url.database, error)) from error
            time.sleep(_RETRY)
        except sqlite3.DatabaseError as error:
            raise StoreUnavailable(_NOT_WRITABLE.format(database.url.database, error)) from error
        else:
            return


def _lock(connection: Connection, database: Database) -> None:
    if database.is_sqlite:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql("BEGIN")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")


def _create_or_upgrade(connection: Connection, artifact_root: str) -> None:
    # Once more, now that no other process can change it.
    found = _revision(connection)
    if found is None:
        _refuse_foreign_tables(connection)
        _create(connection, artifact_root)
    elif found != REVISIONS[-1]:
        _upgrade(connection)


def _create(connection: Connection, artifact_root: str) -> None:
    from mistk_service.tracking.sql.runs.experiments import insert_default_experiment

    for definition in _definitions(URL.create(connection.engine.url.drivername)):
        connection.exec_driver_sql(definition)
    connection.exec_driver_sql(
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
        "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{REVISIONS[-1]}')")  # noqa: S608  # a constant
    insert_default_experiment(connection, artifact_root)


@cache
def _definitions(url: URL) -> Sequence[str]:
    """Return the statements that create the tables. Compiling them takes longer than executing them."""
    found: list[str] = []
    dialect = url.get_dialect()()
    engine = create_mock_engine(url, lambda ddl, *_, **__: found.append(str(ddl.compile(dialect=dialect))))
    metadata.create_all(engine, checkfirst=False)
    return found


def _upgrade(connection: Connection) -> None:
    # Alembic is loaded only when there is something to upgrade.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, REVISIONS[-1])


def _revision(connection: Connection) -> str | None:
    """Return the revision of the schema, or None if there is none; refuse an unknown one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if found is not None and found not in REVISIONS:
        raise SchemaMismatch(
            f"The store's schema has the revision {found!r}, which this version does not know (it knows "
            f"{', '.join(REVISIONS)}): a newer version wrote it, or another program. It was left untouched. Use the "
            "version that wrote it, upgrade this one, or give another store."
        )
    if found is not None and _KERNEL - set(inspect(connection).get_table_names()):
        raise SchemaMismatch(
            f"The database has the revision {found!r} and not the tables {', '.join(sorted(_KERNEL))}: another program wrote "
            f"it. {_UNTOUCHED}"
        )
    return found


def _refuse_foreign_tables(connection: Connection) -> None:
    """Refuse a database with tables but without a revision; in SQLite any tables, since a file belongs to one program."""
    taken = set(inspect(connection).get_table_names())
    if connection.dialect.name != "sqlite":
        # Extensions and other programs have tables there, too.
        taken &= set(metadata.tables)
    # Another process may have created the store, with all its tables at once, since the revision was read.
    if taken and _revision(connection) is None:
        raise SchemaMismatch(
            f"The database has tables ({', '.join(sorted(taken))}) and no revision of the schema, so it is another program's. "
            f"{_UNTOUCHED}"
        )


def _refuse_invalid_references(connection: Connection, file: str) -> None:
    """Refuse a database in which another program's table refers to one of ours by columns that are not unique.

    SQLite then refuses every change of our table. MLflow creates such tables if it uses the file.
    """
    own = set(metadata.tables)
    for table, referred in connection.exec_driver_sql(_REFERENCES).fetchall():
        if table in own or referred.lower() not in own:
            continue
        try:
            connection.exec_driver_sql(f"PRAGMA foreign_key_check({_quoted(table)})").fetchall()
        except exc.OperationalError as error:
            if "foreign key mismatch" not in str(error.orig):
                raise
            raise SchemaMismatch(
                f"Another program has added the table {table!r} to the store. It refers to the table {referred!r}, so that "
                "one cannot be written any more (MLflow adds such a table if it is given the file). It contains no data of "
                f"the store. Remove it: sqlite3 {shlex.quote(file)} {shlex.quote(f'DROP TABLE {_quoted(table)}')}"
            ) from error


def _quoted(name: str) -> str:
    return name if name.isidentifier() else '"' + name.replace('"', '""') + '"'
