"""The store in an SQL database."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

from sqlalchemy import text

from mistk_service.tracking.sql.accounts import Accounts
from mistk_service.tracking.sql.engine.database import Database
from mistk_service.tracking.sql.outbox.journal import SqlJournal
from mistk_service.tracking.sql.registry.logged_models import LoggedModels
from mistk_service.tracking.sql.registry.models import Registry
from mistk_service.tracking.sql.runs.experiments import Experiments
from mistk_service.tracking.sql.runs.runs import Runs
from mistk_service.tracking.sql.runs.trash import Trash
from mistk_service.tracking.sql.schema import prepare
from mistk_service.tracking.sql.writer_leases import WriterLeases
from mistk_service.tracking.store._store import DEFAULT_ARTIFACT_ROOT
from mistk_service.tracking.store.outbox import OutboxStore
from mistk_service.tracking.values.changes import ArtifactLogged

#: Seconds to wait for a lock that another process holds.
_LOCK_TIMEOUT = 10.0


class SqlStore(Experiments, Runs, Registry, LoggedModels, OutboxStore):
    """A store in SQLite or PostgreSQL, composed of one class for each part of the contract.

    All writes of one store object pass through one connection, where waiting ones share a transaction.
    Reads use other connections and never wait for a write, except in an SQLite database in memory, which has only one
    connection. Several processes may use one database at the same time.

    Attributes:
        trash: deleted items that can still be restored.
        accounts: the users.
        writer_leases: the leases of the processes that write to runs.
    """

    def __init__(self, database: Database, artifact_root: str) -> None:
        super().__init__(database, artifact_root)
        self._journal = SqlJournal(database)
        self.trash = Trash(database)
        self.accounts = Accounts(database)
        self.writer_leases = WriterLeases(database)

    @classmethod
    def open(
        cls,
        uri: str,
        artifact_root: str = DEFAULT_ARTIFACT_ROOT,
        *,
        lock_timeout: float = _LOCK_TIMEOUT,
        create: bool = True,
    ) -> Self:
        """Open a store; see :func:`mistk_service.tracking.opening.open_store`.

        Args:
            uri: the database.
            artifact_root: the URI below which experiments get their artifact folders.
            lock_timeout: seconds to wait for a lock that another process holds, before it is ``StoreUnavailable``.
            create: whether to create a missing schema.
        """
        database = Database.open(uri, lock_timeout, create=create)
        try:
            prepare(database, artifact_root, create=create)
            return cls(database, artifact_root)
        except BaseException:  # also for Ctrl-C
            database.close()
            raise

    @property
    def journal(self) -> SqlJournal:
        return self._journal

    @property
    def database(self) -> Database:
        """The database of the store."""
        return self._db

    @property
    def uri(self) -> str:
        return self._db.shown_url

    def non_blocking(self) -> AbstractContextManager[None]:
        return self._db.non_blocking()

    @property
    def file(self) -> Path | None:
        """The file of the database, or None."""
        return self._db.file

    def check(self) -> None:
        self._db.require_file()
        with self._db.read() as connection:
            connection.execute(text("SELECT count(*) FROM alembic_version"))

    def artifact_logged(self, run_id: str, path: str) -> None:
        if self._db.journal_writer.active:
            self._db.write(self._db.journal_writer.change(run_id, ArtifactLogged(path)))

    def close(self) -> None:
        self._db.close()

    def __repr__(self) -> str:
        return f"SqlStore({self.uri!r})"
