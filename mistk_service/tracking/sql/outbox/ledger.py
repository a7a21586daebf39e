"""The state of a remote: the mapping of runs, the files that it has, and what it refused."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Executable, and_, delete, select, update

from mistk_service.tracking.sql.base import SqlPart, now
from mistk_service.tracking.sql.engine.database import Database
from mistk_service.tracking.sql.outbox.tables import (
    journal_files,
    journal_refusals,
    journal_remotes,
    journal_runs,
    journal_uploads,
)
from mistk_service.tracking.sql.outbox.upload_notes import UnfinishedUpload, remove_uploads
from mistk_service.tracking.store.outbox import Ledger, MappedRun, Refusal

#: The state of a run at a remote: it is incomplete; it is complete except for the journal's later rows; or it may have missed
#: changes while the remote was not configured, which is checked after its next change.
INCOMPLETE, COMPLETE, UNSURE = 0, 1, 2


class SqlLedger(SqlPart, Ledger):
    """The ledger of one remote in an SQL database."""

    def __init__(self, database: Database, number: int, name: str) -> None:
        super().__init__(database)
        self.number = number
        self.name = name

    def find(self, run_id: str) -> MappedRun | None:
        table = journal_runs
        statement = select(table.c.remote_run_id, table.c.complete, table.c.covered, table.c.doubtful, table.c.deleted)
        with self._db.read() as connection:
            row = connection.execute(statement.where(*self._is(table, run_id))).first()
        return MappedRun(row[0], row[1] == COMPLETE, row[2], row[3], bool(row[4])) if row else None

    def begin(self, run_id: str) -> None:
        self._set_run(run_id)

    def map(self, run_id: str, remote_run_id: str) -> None:
        self._set_run(run_id, remote_run_id=remote_run_id, complete=INCOMPLETE)

    def complete(self, run_id: str, covered: int, doubtful: int) -> None:
        self._set_run(run_id, complete=COMPLETE, covered=covered, doubtful=doubtful)

    def mark_incomplete(self, run_id: str) -> None:
        self._set_run(run_id, complete=INCOMPLETE)

    def mark_deleted(self, run_id: str, deleted: bool) -> None:
        self._set_run(run_id, deleted=int(deleted))

    def forget(self, run_id: str) -> None:
        self._write(delete(journal_files).where(*self._is(journal_files, run_id)))
        self._set_run(run_id, remote_run_id=None, complete=INCOMPLETE, deleted=0)

    def other_run(self, run_id: str) -> tuple[str, str] | None:
        table = journal_runs
        # A run that came from the remote has "" as its id.
        statement = (
            select(table.c.run_id, table.c.remote_run_id)
            .where(table.c.remote == self.number, table.c.complete == COMPLETE, table.c.run_id != run_id)
            .where(table.c.remote_run_id != "", table.c.deleted == 0)
            .order_by(table.c.covered.desc())
            .limit(1)
        )
        with self._db.read() as connection:
            row = connection.execute(statement).first()
        return (row[0], row[1]) if row else None

    def incomplete(self) -> list[str]:
        table = journal_runs
        statement = select(table.c.run_id).where(table.c.remote == self.number, table.c.complete == INCOMPLETE)
        with self._db.read() as connection:
            return list(connection.execute(statement.order_by(table.c.run_id)).scalars())

    def sent_file(self, run_id: str, path: str) -> str | None:
        table = journal_files
        with self._db.read() as connection:
            etag: str | None = connection.execute(
                select(table.c.etag).where(*self._is(table, run_id), table.c.path == path)
            ).scalar()
        return etag

    def file_sent(self, run_id: str, path: str, etag: str) -> None:
        keys = {"remote": self.number, "run_id": run_id, "path": path}
        insert = self._insert(journal_files).values(**keys, etag=etag)

        def work(connection: Connection) -> None:
            connection.execute(insert.on_conflict_do_update(index_elements=list(keys), set_={"etag": etag}))
            remove_uploads(connection, and_(*self._is(journal_uploads, run_id), journal_uploads.c.path == path))

        self._db.write(work)

    def uploads(self, run_id: str) -> set[str]:
        table = journal_uploads
        with self._db.read() as connection:
            return set(connection.execute(select(table.c.path).where(*self._is(table, run_id))).scalars())

    def upload(self, run_id: str, path: str) -> UnfinishedUpload:
        return UnfinishedUpload(self._db, self.number, run_id, path)

    def refuse(self, run_id: str, what: str, reason: str, items: int = 1) -> None:
        table = journal_refusals
        values = {"reason": reason, "last": now()}
        insert = self._insert(table).values(remote=self.number, run_id=run_id, what=what, times=items, **values)
        self._write(
            insert.on_conflict_do_update(
                index_elements=["remote", "run_id", "what"], set_={**values, "times": table.c.times + items}
            )
        )

    def clear_refusals(self, run_id: str) -> None:
        self._write(delete(journal_refusals).where(*self._is(journal_refusals, run_id)))

    def refusals(self) -> list[Refusal]:
        table = journal_refusals
        statement = select(table).where(table.c.remote == self.number).order_by(table.c.last.desc(), table.c.id.desc())
        with self._db.read() as connection:
            rows = connection.execute(statement).mappings().fetchall()
        return [
            Refusal(self.name, row["run_id"], row["what"], row["reason"], row["times"], row["last"]) for row in rows
        ]

    def failed(self, error: str) -> None:
        self._write(update(journal_remotes).where(journal_remotes.c.id == self.number).values(last_error=error))

    def _set_run(self, run_id: str, **values: Any) -> None:
        keys = {"remote": self.number, "run_id": run_id}
        new = {"remote_run_id": None, "complete": INCOMPLETE, "deleted": 0, "covered": 0, "doubtful": 0}
        insert = self._insert(journal_runs).values(**keys, **{**new, **values})
        if values:
            self._write(insert.on_conflict_do_update(index_elements=list(keys), set_=values))
        else:
            self._write(insert.on_conflict_do_nothing())

    def _is(self, table: Any, run_id: str) -> tuple[Any, Any]:
        return table.c.remote == self.number, table.c.run_id == run_id

    def _write(self, statement: Executable) -> None:
        self._db.write(lambda connection: connection.execute(statement))
