"""Unfinished uploads to remotes, which the next process can resume.

The URLs of the remaining parts are secrets, and cannot be requested again. They are only kept while the upload can be resumed.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, delete, select, update

from mistk_service.tracking.sql.base import SqlPart, now
from mistk_service.tracking.sql.engine.database import Database
from mistk_service.tracking.sql.outbox.tables import journal_parts, journal_uploads
from mistk_service.tracking.values.uploads import MultipartUpload, UploadNotes, UploadPart

#: Milliseconds after which an upload cannot be resumed: no storage accepts a URL for longer than seven days.
_STALE = 7 * 24 * 3600 * 1000


class UnfinishedUpload(SqlPart, UploadNotes):
    """The record of the upload of one file to one remote."""

    def __init__(self, database: Database, remote: int, run_id: str, path: str) -> None:
        super().__init__(database)
        self._remote = remote
        self._run_id = run_id
        self._path = path

    def find(self) -> MultipartUpload | None:
        with self._db.snapshot() as connection:
            row = connection.execute(select(journal_uploads).where(self._is_this())).mappings().first()
            if row is None:
                return None
            table = journal_parts
            parts = select(table.c.number, table.c.url, table.c.headers, table.c.etag)
            found = connection.execute(parts.where(table.c.upload == row["id"]).order_by(table.c.number)).fetchall()
        return MultipartUpload(
            row["root"], row["target"], row["upload_id"], row["etag"], row["size"], row["part_size"],
            tuple(UploadPart(number, url, msgspec.json.decode(headers), etag) for number, url, headers, etag in found),
            None if row["was_free"] is None else bool(row["was_free"]),
        )  # fmt: skip

    def begin(self, upload: MultipartUpload) -> None:
        def work(connection: Connection) -> None:
            remove_uploads(connection, self._is_this())
            new = journal_uploads.insert().values(
                remote=self._remote, run_id=self._run_id, path=self._path, begun=now(), root=upload.root,
                target=upload.target, upload_id=upload.upload_id, etag=upload.etag, size=upload.size,
                part_size=upload.part_size, was_free=None if upload.was_free is None else int(upload.was_free),
            )  # fmt: skip
            number = connection.execute(new.returning(journal_uploads.c.id)).scalar_one()
            connection.execute(journal_parts.insert(), [_row(number, part) for part in upload.parts])

        self._db.write(work)

    def arrived(self, number: int, etag: str) -> None:
        table = journal_parts
        own = select(journal_uploads.c.id).where(self._is_this()).scalar_subquery()
        statement = update(table).where(table.c.upload == own, table.c.number == number).values(etag=etag)
        self._db.write(lambda connection: connection.execute(statement))

    def completing(self, *, was_free: bool) -> None:
        statement = update(journal_uploads).where(self._is_this()).values(was_free=int(was_free))
        self._db.write(lambda connection: connection.execute(statement))

    def forget(self) -> None:
        if self.find() is not None:
            self._db.write(lambda connection: remove_uploads(connection, self._is_this()))

    def _is_this(self) -> ColumnElement[bool]:
        table = journal_uploads
        return (table.c.remote == self._remote) & (table.c.run_id == self._run_id) & (table.c.path == self._path)


def remove_uploads(connection: Connection, condition: ColumnElement[bool]) -> None:
    """Remove unfinished uploads, with their secrets.

    Args:
        connection: in a transaction that writes.
        condition: which ones, of the columns of ``journal_uploads``.
    """
    chosen = select(journal_uploads.c.id).where(condition)
    connection.execute(delete(journal_parts).where(journal_parts.c.upload.in_(chosen)))
    connection.execute(delete(journal_uploads).where(condition))


def stale() -> ColumnElement[bool]:
    """Return the condition for uploads that cannot be resumed any more."""
    return journal_uploads.c.begun < now() - _STALE


def _row(upload: int, part: UploadPart) -> dict[str, Any]:
    headers = msgspec.json.encode(dict(part.headers)).decode()
    return {"upload": upload, "number": part.number, "url": part.url, "headers": headers, "etag": part.etag}
