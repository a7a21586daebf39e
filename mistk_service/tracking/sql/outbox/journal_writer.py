"""Writing the journal: one more insert in the transaction that changes a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, bindparam, insert

from mistk_service.tracking.sql.engine.statements import Prepared
from mistk_service.tracking.sql.outbox.tables import journal
from mistk_service.tracking.values import Metric, Param, Tag
from mistk_service.tracking.values.changes import BatchLogged, Change, encode

_Record = Callable[[Connection], None]


class JournalWriter:
    """Writes the rows of the journal, unless no remote is configured.

    Its methods return a function to call in the transaction of the change, so that both are stored or neither. The change is
    encoded earlier, outside the transaction.

    Attributes:
        active: whether there are remotes to keep rows for.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.active = False
        values: dict[str, Any] = {name: bindparam(name) for name in ("run_id", "created", "change")}
        self._append = Prepared(insert(journal).values(values).inline(), dialect)

    def batch(self, run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: Sequence[Tag]) -> _Record:
        """Return a function that records a batch; an empty batch is not a change."""
        if not self.active or not (metrics or params or tags):
            return _nothing
        return self.change(run_id, BatchLogged.of(metrics, params, tags))

    def change(self, run_id: str, change: Change) -> _Record:
        """Return a function that records a change."""
        if not self.active:
            return _nothing
        encoded = encode(change)

        def record(connection: Connection) -> None:
            created = time.time_ns() // 1_000_000
            self._append.execute(connection, run_id=run_id, created=created, change=encoded)

        return record


def _nothing(connection: Connection) -> None:
    """Record nothing."""
