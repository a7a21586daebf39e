"""What a store knows of a remote: which run is which there, what files it has, and what it refused."""

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
from mistk_service.tracking.store.outbox import MappedRun, Refusal

__all__ = ["COMPLETE", "INCOMPLETE", "UNSURE", "SqlLedger"]

#: How a run stands at a remote: something of it is missing; nothing is, but for the journal's later rows; or it may have
#: missed something while the remote was not configured, which is looked into when it changes again.
INCOMPLETE, COMPLETE, UNSURE = 0, 1, 2


class SqlLedger(SqlPart):
    """What a store knows of one remote. Every method may be called from any thread.

    Attributes:
        number: what the journal calls the remote.
        name: its URI without secrets.
    """

    def __init__(self, database: Database, number: int, name: str) -> None:
        super().__init__(database, "")
        self.number = number
        self.name = name

    def find(self, run_id: str) -> MappedRun | None:
        """Return what is known of a run, or None where it was never attempted to bring it over."""
        table = journal_runs
        statement = select(table.c.remote_run_id, table.c.complete, table.c.covered, table.c.doubtful, table.c.deleted)
        with self._db.read() as connection:
            row = connection.execute(statement.where(*self._is(table, run_id))).first()
        return MappedRun(row[0], row[1] == COMPLETE, row[2], row[3], bool(row[4])) if row else None

    def begin(self, run_id: str) -> None:
        """Note that a run is about to be created there."""
        self._set_run(run_id)

    def map(self, run_id: str, remote_run_id: str) -> None:
        """Note which run it is there; it is not complete."""
        self._set_run(run_id, remote_run_id=remote_run_id, complete=INCOMPLETE)

    def complete(self, run_id: str, covered: int, doubtful: int) -> None:
        """Note that a run was brought over; see :class:`MappedRun`."""
        self._set_run(run_id, complete=COMPLETE, covered=covered, doubtful=doubtful)

    def lapse(self, run_id: str) -> None:
        """Note that something of a run is missing there."""
        self._set_run(run_id, complete=INCOMPLETE)

    def mark_deleted(self, run_id: str, deleted: bool) -> None:
        """Note that the run is deleted there because it is here, or is not any more."""
        self._set_run(run_id, deleted=int(deleted))

    def forget(self, run_id: str) -> None:
        """Forget a run that is gone from the remote, and the files that it had there."""
        self._write(delete(journal_files).where(*self._is(journal_files, run_id)))
        self._set_run(run_id, remote_run_id=None, complete=INCOMPLETE, deleted=0)

    def another(self, run_id: str) -> tuple[str, str] | None:
        """Return another run that was brought over and not deleted, as it is called here and there; the latest, if any."""
        table = journal_runs
        # A run that came from there has "" for its id.
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
        """Return the runs that were begun and not finished, or have missed something."""
        table = journal_runs
        statement = select(table.c.run_id).where(table.c.remote == self.number, table.c.complete == INCOMPLETE)
        with self._db.read() as connection:
            return list(connection.execute(statement.order_by(table.c.run_id)).scalars())

    def sent_file(self, run_id: str, path: str) -> str | None:
        """Return the etag that a file had when it was sent, or None."""
        table = journal_files
        with self._db.read() as connection:
            etag: str | None = connection.execute(
                select(table.c.etag).where(*self._is(table, run_id), table.c.path == path)
            ).scalar()
        return etag

    def file_sent(self, run_id: str, path: str, etag: str) -> None:
        """Note that a file was sent as it was with that etag, and that nothing of it is under way any more."""
        keys = {"remote": self.number, "run_id": run_id, "path": path}
        insert = self._insert(journal_files).values(**keys, etag=etag)

        def work(connection: Connection) -> None:
            connection.execute(insert.on_conflict_do_update(index_elements=list(keys), set_={"etag": etag}))
            remove_uploads(connection, and_(*self._is(journal_uploads, run_id), journal_uploads.c.path == path))

        self._db.write(work)

    def uploads(self, run_id: str) -> set[str]:
        """Return the paths of the files of a run whose uploads are under way."""
        table = journal_uploads
        with self._db.read() as connection:
            return set(connection.execute(select(table.c.path).where(*self._is(table, run_id))).scalars())

    def upload(self, run_id: str, path: str) -> UnfinishedUpload:
        """Return the notes about the upload of a file."""
        return UnfinishedUpload(self._db, self.number, run_id, path)

    def refuse(self, run_id: str, what: str, reason: str, items: int = 1) -> None:
        """Set something aside that the remote refused; what is of the same kind is counted together."""
        table = journal_refusals
        values = {"reason": reason, "last": now()}
        insert = self._insert(table).values(remote=self.number, run_id=run_id, what=what, times=items, **values)
        self._write(
            insert.on_conflict_do_update(
                index_elements=["remote", "run_id", "what"], set_={**values, "times": table.c.times + items}
            )
        )

    def forgive(self, run_id: str) -> None:
        """Forget what was refused of a run, since all of it is about to be tried again."""
        self._write(delete(journal_refusals).where(*self._is(journal_refusals, run_id)))

    def refusals(self) -> list[Refusal]:
        """Return what was refused, the last first."""
        table = journal_refusals
        statement = select(table).where(table.c.remote == self.number).order_by(table.c.last.desc(), table.c.id.desc())
        with self._db.read() as connection:
            rows = connection.execute(statement).mappings().fetchall()
        return [
            Refusal(self.name, row["run_id"], row["what"], row["reason"], row["times"], row["last"]) for row in rows
        ]

    def failed(self, error: str) -> None:
        """Note why the remote could not be delivered to."""
        self._set_remote(last_error=error)

    def _set_remote(self, **values: Any) -> None:
        self._write(update(journal_remotes).where(journal_remotes.c.id == self.number).values(**values))

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
