"""The tables of the journal: changes for remotes, and what each remote has received; ``metadata`` has all tables.

Positions and coverage are numbers of the journal's rows. Those are never reused, and follow the order of the commits.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)

from mistk_service.tracking.sql.tables import Id, Small, column, longs, metadata, number, texts


def _remote() -> Column[Any]:
    return column("remote", Id, ForeignKey("journal_remotes.id"))


journal = Table(
    "journal",
    metadata,
    number("seq"),
    column("run_id"),
    column("created", BigInteger()),
    column("change", LargeBinary()),
    # A number must not be reused after its row was removed.
    sqlite_autoincrement=True,
)

journal_remotes = Table(
    "journal_remotes",
    metadata,
    number("id"),
    column("name"),
    # Whether rows are kept for it.
    column("active", Small),
    # It has everything up to this row.
    column("position", BigInteger()),
    column("last_error", nullable=True),
    column("last_success", BigInteger(), nullable=True),
    UniqueConstraint("name", name="uq_journal_remotes_name"),
)


journal_runs = Table(
    "journal_runs",
    metadata,
    _remote(),
    column("run_id"),
    # None if the run may or may not have been created there.
    column("remote_run_id", nullable=True),
    # One of INCOMPLETE, COMPLETE and UNSURE; see the ledger. It was copied up to ``covered``.
    column("complete", Small),
    column("covered", BigInteger()),
    # Whether it was deleted there because it was deleted here.
    column("deleted", Small),
    # Rows up to this one may have been copied already.
    column("doubtful", BigInteger()),
    PrimaryKeyConstraint("remote", "run_id"),
)
Index("ix_journal_runs_complete", journal_runs.c.remote, journal_runs.c.complete)

journal_files = Table(
    "journal_files",
    metadata,
    _remote(),
    *texts("run_id", "path", "etag"),
    PrimaryKeyConstraint("remote", "run_id", "path"),
)

# An unfinished upload of a large file.
journal_uploads = Table(
    "journal_uploads",
    metadata,
    number("id"),
    _remote(),
    *texts("run_id", "path"),
    # When, in ms since 1970.
    column("begun", BigInteger()),
    # The target, and the storage's id of the upload.
    *texts("root", "target", "upload_id"),
    # The version of the file.
    column("etag"),
    *longs("size", "part_size"),
    # None before its completion was requested; then, whether there was no file of its size at the target.
    column("was_free", Small, nullable=True),
    UniqueConstraint("remote", "run_id", "path", name="uq_journal_uploads_identity"),
)

journal_parts = Table(
    "journal_parts",
    metadata,
    column("upload", Id, ForeignKey("journal_uploads.id")),
    column("number", BigInteger()),
    # The URL is a secret. The headers are a JSON object.
    *texts("url", "headers"),
    # None if it was not uploaded.
    column("etag", nullable=True),
    PrimaryKeyConstraint("upload", "number"),
)

journal_refusals = Table(
    "journal_refusals",
    metadata,
    number("id"),
    _remote(),
    *texts("run_id", "what", "reason"),
    # The number of refusals of this kind.
    *longs("times", "last"),
    UniqueConstraint("remote", "run_id", "what", name="uq_journal_refusals_identity"),
)
