"""Uploads of large files to remotes in progress."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mistk_service.tracking.sql.migrations.columns import longs, number, refers, small_integers, texts

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "journal_uploads",
        number("id"),
        refers("remote", "journal_remotes.id"),
        *texts("run_id", "path"),
        *longs("begun"),
        *texts("root", "target", "upload_id", "etag"),
        *longs("size", "part_size"),
        *small_integers("was_free", nullable=True),
        sa.UniqueConstraint("remote", "run_id", "path", name="uq_journal_uploads_identity"),
    )
    op.create_table(
        "journal_parts",
        refers("upload", "journal_uploads.id"),
        *longs("number"),
        *texts("url", "headers"),
        *texts("etag", nullable=True),
        sa.PrimaryKeyConstraint("upload", "number"),
    )
