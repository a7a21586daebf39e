"""Every point that was measured on a logged model, not only the latest.

The schema is written out, not taken from the package's tables, which may have moved on since.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_LONG = sa.BigInteger()
_DOUBLE: sa.types.TypeEngine[float] = sa.REAL().with_variant(sa.DOUBLE_PRECISION(), "postgresql")

_COLUMNS = "model, key, timestamp, step, run_id, dataset_name, dataset_digest, value, is_nan"


def upgrade() -> None:
    """Make the table anew, since SQLite cannot change a primary key."""
    op.drop_index("ix_logged_model_metrics_value", "logged_model_metrics")
    op.rename_table("logged_model_metrics", "logged_model_latest")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER INDEX logged_model_metrics_pkey RENAME TO logged_model_latest_pkey")
    op.create_table(
        "logged_model_metrics",
        sa.Column("model", _ID, nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("timestamp", _LONG, nullable=False),
        sa.Column("step", _LONG, nullable=False),
        sa.Column("run_id", _TEXT, nullable=False),
        sa.Column("dataset_name", _TEXT, nullable=False),
        sa.Column("dataset_digest", _TEXT, nullable=False),
        sa.Column("value", _DOUBLE, nullable=False),
        sa.Column("is_nan", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "model", "key", "timestamp", "step", "run_id", "dataset_name", "dataset_digest", "value", "is_nan"
        ),
        sqlite_with_rowid=False,
    )
    op.execute(f"INSERT INTO logged_model_metrics ({_COLUMNS}) SELECT {_COLUMNS} FROM logged_model_latest")  # noqa: S608
    op.drop_table("logged_model_latest")
    op.create_index("ix_logged_model_metrics_value", "logged_model_metrics", ["key", "is_nan", "value", "model"])
