"""The time at which a run was deleted, so that old ones can be removed."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column; for runs that are deleted already, the time is now."""
    op.add_column("runs", sa.Column("deleted_time", sa.BigInteger(), nullable=True))
    runs = sa.table("runs", sa.column("lifecycle_stage"), sa.column("deleted_time"))
    op.execute(
        sa.update(runs).where(runs.c.lifecycle_stage == "deleted").values(deleted_time=time.time_ns() // 1_000_000)
    )
