"""Experiments, runs, metrics, registered models and logged models.

The schema is written out, not taken from the package's tables, which may have moved on since.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.BigInteger()
_DOUBLE: sa.types.TypeEngine[float] = sa.REAL().with_variant(sa.DOUBLE_PRECISION(), "postgresql")


def upgrade() -> None:
    """Make the tables."""
    _make_runs()
    _make_registry()
    _make_logged_models()


def _make_runs() -> None:
    op.create_table(
        "experiments",
        sa.Column("experiment_id", _ID, sa.Identity(always=False), nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("artifact_location", _TEXT, nullable=False),
        sa.Column("lifecycle_stage", _TEXT, nullable=False),
        sa.Column("creation_time", _TIME, nullable=False),
        sa.Column("last_update_time", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("experiment_id"),
        sa.UniqueConstraint("name", name="uq_experiments_name"),
    )
    op.create_index(
        "ix_experiments_created",
        "experiments",
        ["lifecycle_stage", sa.literal_column("creation_time DESC"), "experiment_id"],
    )
    op.create_index("ix_experiments_updated", "experiments", ["last_update_time"])
    op.create_table(
        "latest_metrics",
        sa.Column("run", _ID, nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("value", _DOUBLE, nullable=False),
        sa.Column("timestamp", _TIME, nullable=False),
        sa.Column("step", _TIME, nullable=False),
        sa.Column("is_nan", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run", "key"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_latest_metrics_value", "latest_metrics", ["key", "is_nan", "value", "run"])
    op.create_table(
        "metrics",
        sa.Column("run", _ID, nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("timestamp", _TIME, nullable=False),
        sa.Column("step", _TIME, nullable=False),
        sa.Column("value", _DOUBLE, nullable=False),
        sa.Column("is_nan", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run", "key", "timestamp", "step", "value", "is_nan"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "datasets",
        sa.Column("id", _ID, sa.Identity(always=False), nullable=False),
        sa.Column("experiment_id", _ID, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("digest", _TEXT, nullable=False),
        sa.Column("source_type", _TEXT, nullable=False),
        sa.Column("source", _TEXT, nullable=False),
        sa.Column("schema", _TEXT, nullable=True),
        sa.Column("profile", _TEXT, nullable=True),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiments.experiment_id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("experiment_id", "name", "digest", name="uq_datasets_identity"),
    )
    op.create_index("ix_datasets_digest", "datasets", ["digest"])
    op.create_index("ix_datasets_name", "datasets", ["name"])
    op.create_table(
        "experiment_tags",
        sa.Column("experiment_id", _ID, nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("value", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiments.experiment_id"]),
        sa.PrimaryKeyConstraint("experiment_id", "key"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_experiment_tags_value",
        "experiment_tags",
        ["key", sa.literal_column("substr(value, 1, 256)"), "experiment_id"],
    )
    op.create_table(
        "runs",
        sa.Column("id", _ID, sa.Identity(always=False), nullable=False),
        sa.Column("run_id", _TEXT, nullable=False),
        sa.Column("experiment_id", _ID, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("user_id", _TEXT, nullable=False),
        sa.Column("status", _TEXT, nullable=False),
        sa.Column("start_time", _TIME, nullable=False),
        sa.Column("end_time", _TIME, nullable=True),
        sa.Column("artifact_uri", _TEXT, nullable=False),
        sa.Column("lifecycle_stage", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiments.experiment_id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("run_id", name="uq_runs_run_id"),
    )
    op.create_index("ix_runs_end", "runs", ["experiment_id", "end_time"])
    op.create_index("ix_runs_name", "runs", ["experiment_id", sa.literal_column("substr(name, 1, 256)")])
    op.create_index(
        "ix_runs_start", "runs", ["experiment_id", "lifecycle_stage", sa.literal_column("start_time DESC"), "run_id"]
    )
    op.create_index("ix_runs_status", "runs", ["experiment_id", "status"])
    op.create_index("ix_runs_user", "runs", ["experiment_id", sa.literal_column("substr(user_id, 1, 256)")])
    op.create_table(
        "params",
        sa.Column("run", _ID, nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("value", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.id"]),
        sa.PrimaryKeyConstraint("run", "key"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_params_value", "params", ["key", sa.literal_column("substr(value, 1, 256)"), "run"])
    op.create_table(
        "run_datasets",
        sa.Column("id", _ID, sa.Identity(always=False), nullable=False),
        sa.Column("run", _ID, nullable=False),
        sa.Column("dataset_id", _ID, nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"]),
        sa.ForeignKeyConstraint(["run"], ["runs.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("run", "dataset_id", name="uq_run_datasets_identity"),
    )
    op.create_index("ix_run_datasets_dataset", "run_datasets", ["dataset_id", "run"])
    op.create_table(
        "run_models",
        sa.Column("id", _ID, sa.Identity(always=False), nullable=False),
        sa.Column("run", _ID, nullable=False),
        sa.Column("direction", _TEXT, nullable=False),
        sa.Column("model_id", _TEXT, nullable=False),
        sa.Column("step", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("run", "direction", "model_id", "step", name="uq_run_models_identity"),
    )
    op.create_table(
        "run_tags",
        sa.Column("run", _ID, nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("value", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.id"]),
        sa.PrimaryKeyConstraint("run", "key"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_run_tags_value", "run_tags", ["key", sa.literal_column("substr(value, 1, 256)"), "run"])
    op.create_table(
        "input_tags",
        sa.Column("input_id", _ID, nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("value", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(["input_id"], ["run_datasets.id"]),
        sa.PrimaryKeyConstraint("input_id", "key"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_input_tags_value", "input_tags", ["key", sa.literal_column("substr(value, 1, 256)"), "input_id"]
    )


def _make_registry() -> None:
    op.create_table(
        "registered_models",
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("creation_timestamp", _TIME, nullable=False),
        sa.Column("last_updated_timestamp", _TIME, nullable=False),
        sa.Column("description", _TEXT, nullable=True),
        sa.Column("deployment_job_id", _TEXT, nullable=True),
        sa.Column("last_version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index(
        "ix_registered_models_updated", "registered_models", [sa.literal_column("last_updated_timestamp DESC"), "name"]
    )
    op.create_table(
        "model_versions",
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("creation_timestamp", _TIME, nullable=False),
        sa.Column("last_updated_timestamp", _TIME, nullable=False),
        sa.Column("current_stage", _TEXT, nullable=False),
        sa.Column("description", _TEXT, nullable=False),
        sa.Column("source", _TEXT, nullable=False),
        sa.Column("storage_location", _TEXT, nullable=False),
        sa.Column("run_id", _TEXT, nullable=False),
        sa.Column("run_link", _TEXT, nullable=False),
        sa.Column("status", _TEXT, nullable=False),
        sa.Column("status_message", _TEXT, nullable=True),
        sa.Column("model_id", _TEXT, nullable=True),
        sa.ForeignKeyConstraint(["name"], ["registered_models.name"], onupdate="CASCADE", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("name", "version"),
    )
    op.create_index("ix_model_versions_model", "model_versions", ["model_id"])
    op.create_index("ix_model_versions_run", "model_versions", ["run_id"])
    op.create_index("ix_model_versions_source", "model_versions", [sa.literal_column("substr(source, 1, 256)")])
    op.create_index(
        "ix_model_versions_updated",
        "model_versions",
        [sa.literal_column("last_updated_timestamp DESC"), "name", sa.literal_column("version DESC")],
    )
    op.create_table(
        "registered_model_tags",
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("value", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(["name"], ["registered_models.name"], onupdate="CASCADE", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("name", "key"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_registered_model_tags_value",
        "registered_model_tags",
        ["key", sa.literal_column("substr(value, 1, 256)"), "name"],
    )
    op.create_table(
        "model_version_tags",
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("value", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["name", "version"],
            ["model_versions.name", "model_versions.version"],
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("name", "version", "key"),
    )
    op.create_index(
        "ix_model_version_tags_value", "model_version_tags", ["key", sa.literal_column("substr(value, 1, 256)")]
    )
    op.create_table(
        "registered_model_aliases",
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("alias", _TEXT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["name", "version"],
            ["model_versions.name", "model_versions.version"],
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("name", "alias"),
    )


def _make_logged_models() -> None:
    op.create_table(
        "logged_model_metrics",
        sa.Column("model", _ID, nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("dataset_name", _TEXT, nullable=False),
        sa.Column("dataset_digest", _TEXT, nullable=False),
        sa.Column("run_id", _TEXT, nullable=False),
        sa.Column("value", _DOUBLE, nullable=False),
        sa.Column("timestamp", _TIME, nullable=False),
        sa.Column("step", _TIME, nullable=False),
        sa.Column("is_nan", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model", "key", "dataset_name", "dataset_digest", "run_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_logged_model_metrics_value", "logged_model_metrics", ["key", "is_nan", "value", "model"])
    op.create_table(
        "logged_models",
        sa.Column("id", _ID, sa.Identity(always=False), nullable=False),
        sa.Column("model_id", _TEXT, nullable=False),
        sa.Column("experiment_id", _ID, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("artifact_uri", _TEXT, nullable=False),
        sa.Column("status", _TEXT, nullable=False),
        sa.Column("model_type", _TEXT, nullable=True),
        sa.Column("source_run_id", _TEXT, nullable=True),
        sa.Column("status_message", _TEXT, nullable=True),
        sa.Column("creation_timestamp", _TIME, nullable=False),
        sa.Column("last_updated_timestamp", _TIME, nullable=False),
        sa.Column("lifecycle_stage", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiments.experiment_id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("model_id", name="uq_logged_models_model_id"),
    )
    op.create_index(
        "ix_logged_models_created",
        "logged_models",
        ["experiment_id", "lifecycle_stage", sa.literal_column("creation_timestamp DESC"), "model_id"],
    )
    op.create_index(
        "ix_logged_models_name", "logged_models", ["experiment_id", sa.literal_column("substr(name, 1, 256)")]
    )
    op.create_index("ix_logged_models_run", "logged_models", ["source_run_id"])
    op.create_table(
        "logged_model_params",
        sa.Column("model", _ID, nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("value", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(["model"], ["logged_models.id"]),
        sa.PrimaryKeyConstraint("model", "key"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_logged_model_params_value",
        "logged_model_params",
        ["key", sa.literal_column("substr(value, 1, 256)"), "model"],
    )
    op.create_table(
        "logged_model_tags",
        sa.Column("model", _ID, nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("value", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(["model"], ["logged_models.id"]),
        sa.PrimaryKeyConstraint("model", "key"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_logged_model_tags_value", "logged_model_tags", ["key", sa.literal_column("substr(value, 1, 256)"), "model"]
    )
