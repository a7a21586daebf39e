"""Users and their permissions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mistk_service.tracking.sql.migrations.columns import number, refers, small_integers, texts

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "users",
        number("id"),
        *texts("username", "password_hash"),
        *small_integers("is_admin"),
        sa.UniqueConstraint("username", name="uq_users_username"),
    )
    op.create_table(
        "experiment_permissions",
        refers("experiment_id", "experiments.experiment_id", ondelete="CASCADE"),
        refers("user_id", "users.id", ondelete="CASCADE"),
        *texts("permission"),
        sa.PrimaryKeyConstraint("experiment_id", "user_id"),
    )
    op.create_table(
        "registered_model_permissions",
        refers("name", "registered_models.name", onupdate="CASCADE", ondelete="CASCADE"),
        refers("user_id", "users.id", ondelete="CASCADE"),
        *texts("permission"),
        sa.PrimaryKeyConstraint("name", "user_id"),
    )
