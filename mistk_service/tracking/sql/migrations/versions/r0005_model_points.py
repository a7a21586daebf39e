"""Every point that was measured on a logged model, not only the latest."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mistk_service.tracking.sql.migrations.columns import doubles, ids, longs, small_integers, texts

revision = "0005"
down_revision = "0004"

_COLUMNS = "model, key, timestamp, step, run_id, dataset_name, dataset_digest, value, is_nan"


def upgrade() -> None:
    """Make the table anew, since SQLite cannot change a primary key."""
    op.drop_index("ix_logged_model_metrics_value", "logged_model_metrics")
    op.rename_table("logged_model_metrics", "logged_model_latest")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER INDEX logged_model_metrics_pkey RENAME TO logged_model_latest_pkey")
    op.create_table(
        "logged_model_metrics",
        *ids("model"),
        *texts("key"),
        *longs("timestamp", "step"),
        *texts("run_id", "dataset_name", "dataset_digest"),
        *doubles("value"),
        *small_integers("is_nan"),
        sa.PrimaryKeyConstraint(
            "model", "key", "timestamp", "step", "run_id", "dataset_name", "dataset_digest", "value", "is_nan"
        ),
        sqlite_with_rowid=False,
    )
    op.execute(f"INSERT INTO logged_model_metrics ({_COLUMNS}) SELECT {_COLUMNS} FROM logged_model_latest")  # noqa: S608
    op.drop_table("logged_model_latest")
    op.create_index("ix_logged_model_metrics_value", "logged_model_metrics", ["key", "is_nan", "value", "model"])
