"""Uploads of large files to remotes that are under way.

The schema is written out, not taken from the package's tables, which may have moved on since.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_LONG = sa.BigInteger()


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "journal_uploads",
        sa.Column("id", _ID, sa.Identity(always=False), nullable=False),
        sa.Column("remote", _ID, nullable=False),
        sa.Column("run_id", _TEXT, nullable=False),
        sa.Column("path", _TEXT, nullable=False),
        sa.Column("begun", _LONG, nullable=False),
        sa.Column("root", _TEXT, nullable=False),
        sa.Column("target", _TEXT, nullable=False),
        sa.Column("upload_id", _TEXT, nullable=False),
        sa.Column("etag", _TEXT, nullable=False),
        sa.Column("size", _LONG, nullable=False),
        sa.Column("part_size", _LONG, nullable=False),
        sa.Column("was_free", sa.SmallInteger(), nullable=True),
        sa.ForeignKeyConstraint(["remote"], ["journal_remotes.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("remote", "run_id", "path", name="uq_journal_uploads_identity"),
    )
    op.create_table(
        "journal_parts",
        sa.Column("upload", _ID, nullable=False),
        sa.Column("number", _LONG, nullable=False),
        sa.Column("url", _TEXT, nullable=False),
        sa.Column("headers", _TEXT, nullable=False),
        sa.Column("etag", _TEXT, nullable=True),
        sa.ForeignKeyConstraint(["upload"], ["journal_uploads.id"]),
        sa.PrimaryKeyConstraint("upload", "number"),
    )
