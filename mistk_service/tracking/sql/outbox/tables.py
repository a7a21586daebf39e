"""The tables of the journal: what remotes have yet to get, and what they have got so far; ``metadata`` has all tables.

Positions and coverage are numbers of the journal's rows. Those are given out once and in the order of the commits.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

from mistk_service.tracking.sql.tables import metadata

__all__ = [
    "journal",
    "journal_files",
    "journal_parts",
    "journal_refusals",
    "journal_remotes",
    "journal_runs",
    "journal_uploads",
    "metadata",
]

_Text = Text().with_variant(Text(collation="C"), "postgresql")
# SQLite numbers rows by itself only where the type is exactly INTEGER.
_Id = BigInteger().with_variant(Integer(), "sqlite")


def _number(name: str) -> Column[int]:
    return Column(name, _Id, Identity(), primary_key=True, nullable=False)


def _text(name: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, _Text, nullable=nullable)


def _long(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger(), nullable=nullable)


def _remote() -> Column[int]:
    return Column("remote", _Id, ForeignKey("journal_remotes.id"), nullable=False)


journal = Table(
    "journal",
    metadata,
    _number("seq"),
    _text("run_id"),
    _long("created"),
    Column("change", LargeBinary(), nullable=False),
    # A number must not come back after the row that had it was removed.
    sqlite_autoincrement=True,
)

journal_remotes = Table(
    "journal_remotes",
    metadata,
    _number("id"),
    _text("name"),
    # Whether rows are kept for it.
    Column("active", SmallInteger(), nullable=False),
    # It has everything up to this row.
    _long("position"),
    _text("last_error", nullable=True),
    _long("last_success", nullable=True),
    UniqueConstraint("name", name="uq_journal_remotes_name"),
)


journal_runs = Table(
    "journal_runs",
    metadata,
    _remote(),
    _text("run_id"),
    # None where the run may or may not have been created there.
    _text("remote_run_id", nullable=True),
    # One of INCOMPLETE, COMPLETE and UNSURE; see the ledger. It was copied up to ``covered``.
    Column("complete", SmallInteger(), nullable=False),
    _long("covered"),
    # Whether it was deleted there because it was deleted here.
    Column("deleted", SmallInteger(), nullable=False),
    # Rows up to this one may be there already.
    _long("doubtful"),
    PrimaryKeyConstraint("remote", "run_id"),
)
Index("ix_journal_runs_complete", journal_runs.c.remote, journal_runs.c.complete)

journal_files = Table(
    "journal_files",
    metadata,
    _remote(),
    _text("run_id"),
    _text("path"),
    _text("etag"),
    PrimaryKeyConstraint("remote", "run_id", "path"),
)

# An unfinished upload of a large file.
journal_uploads = Table(
    "journal_uploads",
    metadata,
    _number("id"),
    _remote(),
    _text("run_id"),
    _text("path"),
    # When, in ms since 1970.
    _long("begun"),
    # Where to, and what the storage calls it.
    _text("root"),
    _text("target"),
    _text("upload_id"),
    # The file as it was then.
    _text("etag"),
    _long("size"),
    _long("part_size"),
    # None before it is to be completed; then, whether nothing of its size was at the target.
    Column("was_free", SmallInteger(), nullable=True),
    UniqueConstraint("remote", "run_id", "path", name="uq_journal_uploads_identity"),
)

journal_parts = Table(
    "journal_parts",
    metadata,
    Column("upload", _Id, ForeignKey("journal_uploads.id"), nullable=False),
    _long("number"),
    # Where it goes: a secret. The headers are a JSON object.
    _text("url"),
    _text("headers"),
    # None where it has not arrived.
    _text("etag", nullable=True),
    PrimaryKeyConstraint("upload", "number"),
)

journal_refusals = Table(
    "journal_refusals",
    metadata,
    _number("id"),
    _remote(),
    _text("run_id"),
    _text("what"),
    _text("reason"),
    # How often something of the kind was refused.
    _long("times"),
    _long("last"),
    UniqueConstraint("remote", "run_id", "what", name="uq_journal_refusals_identity"),
)
