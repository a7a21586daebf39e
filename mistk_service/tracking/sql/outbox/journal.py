"""The journal: every change of a run, kept until each configured remote has it.

``journal_writer`` writes its rows, in the transaction that makes the change. This module reads, acknowledges and removes them,
and stores the configured remotes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, select, update

from mistk_service.tracking.sql.base import SqlPart, now
from mistk_service.tracking.sql.engine.database import Database
from mistk_service.tracking.sql.outbox.leases import Leases
from mistk_service.tracking.sql.outbox.ledger import COMPLETE, INCOMPLETE, UNSURE, SqlLedger
from mistk_service.tracking.sql.outbox.tables import (
    journal,
    journal_refusals,
    journal_remotes,
    journal_runs,
    journal_uploads,
)
from mistk_service.tracking.sql.outbox.upload_notes import remove_uploads, stale
from mistk_service.tracking.store.outbox import Backlog, Entry, Journal, KnownRemote, Lease
from mistk_service.tracking.values.changes import decode

#: Rows that are read at once, and the bytes of changes after which no further row is read.
WINDOW = 1000
WINDOW_BYTES = 16 << 20


class SqlJournal(SqlPart, Journal):
    """The journal of a store in an SQL database.

    Args:
        database: the database.
        window_bytes: bytes of changes after which no further row is read at once.
    """

    def __init__(self, database: Database, *, window_bytes: int = WINDOW_BYTES) -> None:
        super().__init__(database)
        self._window_bytes = window_bytes
        self._leases = Leases(database)
        with database.read() as connection:
            active = connection.execute(select(func.count()).where(journal_remotes.c.active == 1)).scalar_one()
        database.journal_writer.active = active > 0

    def configure(self, names: Iterable[str]) -> None:
        wanted = list(dict.fromkeys(names))

        def work(connection: Connection) -> None:
            table = journal_remotes
            last = self._last(connection)
            for name in wanted:
                self._number(connection, name, last)
            left = select(table.c.id).where(table.c.active == 1, table.c.name.not_in(wanted))
            for (number,) in connection.execute(left).fetchall():
                self._deactivate(connection, number, last)
            self._activate(connection, wanted, last)
            remove_uploads(connection, stale())
            self._trim(connection)

        self._db.write(work)
        self._db.journal_writer.active = bool(wanted)

    def remotes(self) -> list[KnownRemote]:
        with self._db.read() as connection:
            rows = connection.execute(
                self._remotes().order_by(journal_remotes.c.active.desc(), journal_remotes.c.id)
            ).fetchall()
        return [_known_remote(row) for row in rows]

    def remote(self, number: int) -> KnownRemote:
        with self._db.read() as connection:
            return _known_remote(connection.execute(self._remotes().where(journal_remotes.c.id == number)).one())

    @staticmethod
    def _remotes() -> Select[Any]:
        refused = select(func.coalesce(func.sum(journal_refusals.c.times), 0)).where(
            journal_refusals.c.remote == journal_remotes.c.id
        )
        return select(journal_remotes, refused.scalar_subquery().label("refused"))

    def ledger(self, name: str) -> SqlLedger:
        number = self._db.write(lambda connection: self._number(connection, name, self._last(connection)))
        return SqlLedger(self._db, number, name)

    def lease(self, number: int) -> AbstractContextManager[Lease]:
        return self._leases.take(number)

    def last(self) -> int:
        with self._db.settled(journal.name) as connection:
            return self._last(connection)

    def read(self, number: int) -> list[Entry]:
        with self._db.settled(journal.name) as connection:
            position = connection.execute(
                select(journal_remotes.c.position).where(journal_remotes.c.id == number)
            ).scalar_one()
            statement = select(journal.c.seq, journal.c.run_id, journal.c.change).where(journal.c.seq > position)
            rows = connection.execute(statement.order_by(journal.c.seq).limit(WINDOW)).fetchall()
        found: list[Entry] = []
        size = 0
        for seq, run_id, change in rows:
            size += len(change)
            if found and size > self._window_bytes:
                break
            found.append(Entry(seq, run_id, decode(bytes(change))))
        return found

    def has_more(self, run_id: str, seq: int) -> bool:
        statement = select(journal.c.seq).where(journal.c.seq > seq, journal.c.run_id == run_id).limit(1)
        with self._db.read() as connection:
            return connection.execute(statement).first() is not None

    def backlog(self, number: int) -> Backlog:
        with self._db.snapshot() as connection:
            table = journal_remotes
            position, active = connection.execute(
                select(table.c.position, table.c.active).where(table.c.id == number)
            ).one()
            if not active:
                return Backlog(0, None)
            waiting = journal.c.seq > position
            if self._db.is_sqlite:
                # Numbers have no gaps there, and counting would read everything.
                depth = self._last(connection) - position
            else:
                depth = connection.execute(select(func.count()).where(waiting)).scalar_one()
            oldest = select(journal.c.created).where(waiting).order_by(journal.c.seq).limit(1)
            return Backlog(depth, connection.execute(oldest).scalar())

    def acknowledge(self, number: int, seq: int) -> None:
        def work(connection: Connection) -> None:
            table = journal_remotes
            statement = update(table).where(table.c.id == number, table.c.position < seq)
            connection.execute(statement.values(position=seq, last_success=now(), last_error=None))
            self._trim(connection)

        self._db.write(work)

    def _number(self, connection: Connection, name: str, position: int) -> int:
        """Return the number of a remote, which is added if it is unknown."""
        table = journal_remotes
        insert = self._insert(table).values(name=name, active=0, position=position)
        connection.execute(insert.on_conflict_do_nothing())
        number: int = connection.execute(select(table.c.id).where(table.c.name == name)).scalar_one()
        return number

    def _deactivate(self, connection: Connection, number: int, last: int) -> None:
        """Deactivate a remote, and record which runs it has not received completely."""
        remotes, runs = journal_remotes, journal_runs
        position = select(remotes.c.position).where(remotes.c.id == number).scalar_subquery()
        rows = connection.execute(select(journal.c.run_id).where(journal.c.seq > position).distinct()).fetchall()
        for (run_id,) in rows:
            insert = self._insert(runs).values(
                remote=number, run_id=run_id, complete=INCOMPLETE, deleted=0, covered=0, doubtful=0
            )
            connection.execute(
                insert.on_conflict_do_update(index_elements=["remote", "run_id"], set_={"complete": INCOMPLETE})
            )
        connection.execute(update(remotes).where(remotes.c.id == number).values(active=0, position=last))
        remove_uploads(connection, journal_uploads.c.remote == number)

    @staticmethod
    def _activate(connection: Connection, names: Sequence[str], last: int) -> None:
        """Keep changes for remotes again; their runs may have missed changes in the meantime."""
        remotes, runs = journal_remotes, journal_runs
        back = select(remotes.c.id).where(remotes.c.active == 0, remotes.c.name.in_(names))
        unsure = update(runs).where(runs.c.remote.in_(back), runs.c.complete == COMPLETE)
        connection.execute(unsure.values(complete=UNSURE))
        connection.execute(
            update(remotes)
            .where(remotes.c.active == 0, remotes.c.name.in_(names))
            .values(active=1, position=last, last_error=None)
        )

    @staticmethod
    def _last(connection: Connection) -> int:
        # Rows are only removed when a remote's position has passed them.
        found: Sequence[int | None] = connection.execute(
            select(
                select(func.max(journal.c.seq)).scalar_subquery(),
                select(func.max(journal_remotes.c.position)).scalar_subquery(),
            )
        ).one()
        return max(number or 0 for number in found)

    @staticmethod
    def _trim(connection: Connection) -> None:
        remotes = journal_remotes
        slowest = connection.execute(select(func.min(remotes.c.position)).where(remotes.c.active == 1)).scalar()
        done = delete(journal)
        connection.execute(done if slowest is None else done.where(journal.c.seq <= slowest))


def _known_remote(row: Row[Any]) -> KnownRemote:
    return KnownRemote(
        row.id, row.name, bool(row.active), row.position, row.last_error, row.last_success, int(row.refused)
    )
