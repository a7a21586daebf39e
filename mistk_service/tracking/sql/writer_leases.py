"""Leases of the processes that write to runs. Each renews its lease, so that others know that it is alive.

All times are the database's, so the clocks of the machines may differ.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, delete, exists, func, literal_column, select, update

from mistk_service.tracking.sql.base import SqlPart
from mistk_service.tracking.sql.tables import writer_leases as table


class WriterLeases(SqlPart):
    """The leases in a store. The thread safety and the errors are those of the store."""

    def acquire(self, writer: str, seconds: float) -> None:
        """Take a lease. ``writer`` is the unique name of the process.

        It may be repeated if it is unknown whether it was applied.
        """
        now = self._now()
        times = {"seen_at": now, "expires_at": now + _ms(seconds)}
        taken = self._insert(table).values(writer=writer, **times)
        statement = taken.on_conflict_do_update(index_elements=["writer"], set_=times)
        self._db.write(lambda connection: connection.execute(statement))

    def renew(self, writer: str, seconds: float) -> bool:
        """Renew a lease, which may have expired in the meantime. Return False if another has claimed it."""
        now = self._now()
        held = update(table).where(table.c.writer == writer, table.c.claimed_by.is_(None))
        statement = held.values(seen_at=now, expires_at=now + _ms(seconds))
        return bool(self._db.write(lambda connection: connection.execute(statement).rowcount))

    def exists(self, writer: str) -> bool:
        """Return whether a lease exists, claimed or not."""
        with self._db.read() as connection:
            return bool(connection.execute(select(exists().where(table.c.writer == writer))).scalar())

    def claim_expired(self, claimer: str, seconds: float) -> tuple[str, int] | None:
        """Claim a lease that has expired, and return its writer and when it was last seen, in ms since 1970; None without one.

        No other process gets the same one, unless the claimer does not :meth:`release` it within ``seconds``.
        """
        now = self._now()
        expired = and_(table.c.expires_at < now, table.c.writer != claimer)
        # If several processes choose the same one, all but the first find that it has not expired any more, and get none.
        first = select(table.c.writer).where(expired).order_by(table.c.expires_at, table.c.writer).limit(1)
        claimed = update(table).where(expired, table.c.writer == first.scalar_subquery())
        statement = claimed.values(claimed_by=claimer, expires_at=now + _ms(seconds))
        returning = statement.returning(table.c.writer, table.c.seen_at)
        row = self._db.write(lambda connection: connection.execute(returning).first())
        return None if row is None else (row.writer, row.seen_at)

    def release(self, writer: str, claimer: str | None = None) -> None:
        """Remove a lease: the caller's own at its end, or a claimed one once the writer's runs are ended."""
        statement = delete(table).where(table.c.writer == writer, table.c.claimed_by.is_not_distinct_from(claimer))
        self._db.write(lambda connection: connection.execute(statement))

    def _now(self) -> ColumnElement[int]:
        if self._db.is_sqlite:
            return literal_column("CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)")
        return func.floor(func.extract("epoch", func.clock_timestamp()) * 1000).cast(table.c.expires_at.type)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
