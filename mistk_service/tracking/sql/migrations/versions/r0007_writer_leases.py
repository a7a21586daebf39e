"""Leases of the processes that write to runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mistk_service.tracking.sql.migrations.columns import longs, texts

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "writer_leases",
        *texts("writer"),
        *longs("seen_at", "expires_at"),
        *texts("claimed_by", nullable=True),
        sa.PrimaryKeyConstraint("writer"),
    )
