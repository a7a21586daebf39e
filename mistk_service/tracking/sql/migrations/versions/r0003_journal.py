"""The journal of what remotes have yet to get.

The schema is written out, not taken from the package's tables, which may have moved on since.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_LONG = sa.BigInteger()
_FLAG = sa.SmallInteger()


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "journal",
        sa.Column("seq", _ID, sa.Identity(always=False), nullable=False),
        sa.Column("run_id", _TEXT, nullable=False),
        sa.Column("created", _LONG, nullable=False),
        sa.Column("change", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "journal_remotes",
        sa.Column("id", _ID, sa.Identity(always=False), nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("active", _FLAG, nullable=False),
        sa.Column("position", _LONG, nullable=False),
        sa.Column("last_error", _TEXT, nullable=True),
        sa.Column("last_success", _LONG, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name", name="uq_journal_remotes_name"),
    )
    op.create_table(
        "journal_runs",
        sa.Column("remote", _ID, nullable=False),
        sa.Column("run_id", _TEXT, nullable=False),
        sa.Column("remote_run_id", _TEXT, nullable=True),
        sa.Column("complete", _FLAG, nullable=False),
        sa.Column("deleted", _FLAG, nullable=False),
        sa.Column("covered", _LONG, nullable=False),
        sa.Column("doubtful", _LONG, nullable=False),
        sa.ForeignKeyConstraint(["remote"], ["journal_remotes.id"]),
        sa.PrimaryKeyConstraint("remote", "run_id"),
    )
    op.create_index("ix_journal_runs_complete", "journal_runs", ["remote", "complete"])
    op.create_table(
        "journal_files",
        sa.Column("remote", _ID, nullable=False),
        sa.Column("run_id", _TEXT, nullable=False),
        sa.Column("path", _TEXT, nullable=False),
        sa.Column("etag", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(["remote"], ["journal_remotes.id"]),
        sa.PrimaryKeyConstraint("remote", "run_id", "path"),
    )
    op.create_table(
        "journal_refusals",
        sa.Column("id", _ID, sa.Identity(always=False), nullable=False),
        sa.Column("remote", _ID, nullable=False),
        sa.Column("run_id", _TEXT, nullable=False),
        sa.Column("what", _TEXT, nullable=False),
        sa.Column("reason", _TEXT, nullable=False),
        sa.Column("times", _LONG, nullable=False),
        sa.Column("last", _LONG, nullable=False),
        sa.ForeignKeyConstraint(["remote"], ["journal_remotes.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("remote", "run_id", "what", name="uq_journal_refusals_identity"),
    )
