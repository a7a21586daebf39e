"""The journal of changes for remotes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mistk_service.tracking.sql.migrations.columns import longs, number, refers, small_integers, texts

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "journal",
        number("seq"),
        *texts("run_id"),
        *longs("created"),
        sa.Column("change", sa.LargeBinary(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "journal_remotes",
        number("id"),
        *texts("name"),
        *small_integers("active"),
        *longs("position"),
        *texts("last_error", nullable=True),
        *longs("last_success", nullable=True),
        sa.UniqueConstraint("name", name="uq_journal_remotes_name"),
    )
    op.create_table(
        "journal_runs",
        refers("remote", "journal_remotes.id"),
        *texts("run_id"),
        *texts("remote_run_id", nullable=True),
        *small_integers("complete", "deleted"),
        *longs("covered", "doubtful"),
        sa.PrimaryKeyConstraint("remote", "run_id"),
    )
    op.create_index("ix_journal_runs_complete", "journal_runs", ["remote", "complete"])
    op.create_table(
        "journal_files",
        refers("remote", "journal_remotes.id"),
        *texts("run_id", "path", "etag"),
        sa.PrimaryKeyConstraint("remote", "run_id", "path"),
    )
    op.create_table(
        "journal_refusals",
        number("id"),
        refers("remote", "journal_remotes.id"),
        *texts("run_id", "what", "reason"),
        *longs("times", "last"),
        sa.UniqueConstraint("remote", "run_id", "what", name="uq_journal_refusals_identity"),
    )
