"""Experiments, runs, metrics, registered models and logged models."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mistk_service.tracking.sql.migrations.columns import (
    descending,
    doubles,
    head,
    ids,
    longs,
    make_keyed,
    number,
    refers,
    small_integers,
    texts,
)

revision = "0001"
down_revision = None

_CASCADE = {"onupdate": "CASCADE", "ondelete": "CASCADE"}


def upgrade() -> None:
    """Make the tables."""
    _make_runs()
    _make_registry()
    _make_logged_models()


def _make_runs() -> None:
    op.create_table(
        "experiments",
        number("experiment_id"),
        *texts("name", "artifact_location", "lifecycle_stage"),
        *longs("creation_time", "last_update_time"),
        sa.UniqueConstraint("name", name="uq_experiments_name"),
    )
    created = ["lifecycle_stage", descending("creation_time"), "experiment_id"]
    op.create_index("ix_experiments_created", "experiments", created)
    op.create_index("ix_experiments_updated", "experiments", ["last_update_time"])
    make_keyed("experiment_tags", refers("experiment_id", "experiments.experiment_id"))
    op.create_table(
        "runs",
        number("id"),
        *texts("run_id"),
        refers("experiment_id", "experiments.experiment_id"),
        *texts("name", "user_id", "status"),
        *longs("start_time"),
        *longs("end_time", nullable=True),
        *texts("artifact_uri", "lifecycle_stage"),
        sa.UniqueConstraint("run_id", name="uq_runs_run_id"),
    )
    op.create_index("ix_runs_end", "runs", ["experiment_id", "end_time"])
    op.create_index("ix_runs_name", "runs", ["experiment_id", head("name")])
    op.create_index("ix_runs_start", "runs", ["experiment_id", "lifecycle_stage", descending("start_time"), "run_id"])
    op.create_index("ix_runs_status", "runs", ["experiment_id", "status"])
    op.create_index("ix_runs_user", "runs", ["experiment_id", head("user_id")])
    op.create_table(
        "metrics",
        *ids("run"),
        *texts("key"),
        *longs("timestamp", "step"),
        *doubles("value"),
        *small_integers("is_nan"),
        sa.PrimaryKeyConstraint("run", "key", "timestamp", "step", "value", "is_nan"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "latest_metrics",
        *ids("run"),
        *texts("key"),
        *doubles("value"),
        *longs("timestamp", "step"),
        *small_integers("is_nan"),
        sa.PrimaryKeyConstraint("run", "key"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_latest_metrics_value", "latest_metrics", ["key", "is_nan", "value", "run"])
    make_keyed("params", refers("run", "runs.id"))
    make_keyed("run_tags", refers("run", "runs.id"))
    op.create_table(
        "datasets",
        number("id"),
        refers("experiment_id", "experiments.experiment_id"),
        *texts("name", "digest", "source_type", "source"),
        *texts("schema", "profile", nullable=True),
        sa.UniqueConstraint("experiment_id", "name", "digest", name="uq_datasets_identity"),
    )
    op.create_index("ix_datasets_digest", "datasets", ["digest"])
    op.create_index("ix_datasets_name", "datasets", ["name"])
    op.create_table(
        "run_datasets",
        number("id"),
        refers("run", "runs.id"),
        refers("dataset_id", "datasets.id"),
        sa.UniqueConstraint("run", "dataset_id", name="uq_run_datasets_identity"),
    )
    op.create_index("ix_run_datasets_dataset", "run_datasets", ["dataset_id", "run"])
    make_keyed("input_tags", refers("input_id", "run_datasets.id"))
    op.create_table(
        "run_models",
        number("id"),
        refers("run", "runs.id"),
        *texts("direction", "model_id"),
        *longs("step"),
        sa.UniqueConstraint("run", "direction", "model_id", "step", name="uq_run_models_identity"),
    )


def _make_registry() -> None:
    op.create_table(
        "registered_models",
        *texts("name"),
        *longs("creation_timestamp", "last_updated_timestamp"),
        *texts("description", "deployment_job_id", nullable=True),
        sa.Column("last_version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index("ix_registered_models_updated", "registered_models", [descending("last_updated_timestamp"), "name"])
    make_keyed("registered_model_tags", refers("name", "registered_models.name", **_CASCADE))
    op.create_table(
        "model_versions",
        refers("name", "registered_models.name", **_CASCADE),
        sa.Column("version", sa.Integer(), nullable=False),
        *longs("creation_timestamp", "last_updated_timestamp"),
        *texts("current_stage", "description", "source", "storage_location", "run_id", "run_link", "status"),
        *texts("status_message", "model_id", nullable=True),
        sa.PrimaryKeyConstraint("name", "version"),
    )
    op.create_index("ix_model_versions_model", "model_versions", ["model_id"])
    op.create_index("ix_model_versions_run", "model_versions", ["run_id"])
    op.create_index("ix_model_versions_source", "model_versions", [head("source")])
    updated = [descending("last_updated_timestamp"), "name", descending("version")]
    op.create_index("ix_model_versions_updated", "model_versions", updated)
    op.create_table(
        "model_version_tags",
        *texts("name"),
        sa.Column("version", sa.Integer(), nullable=False),
        *texts("key", "value"),
        _of_version(),
        sa.PrimaryKeyConstraint("name", "version", "key"),
    )
    op.create_index("ix_model_version_tags_value", "model_version_tags", ["key", head("value")])
    op.create_table(
        "registered_model_aliases",
        *texts("name", "alias"),
        sa.Column("version", sa.Integer(), nullable=False),
        _of_version(),
        sa.PrimaryKeyConstraint("name", "alias"),
    )


def _of_version() -> sa.ForeignKeyConstraint:
    target = ["model_versions.name", "model_versions.version"]
    return sa.ForeignKeyConstraint(["name", "version"], target, onupdate="CASCADE", ondelete="CASCADE")


def _make_logged_models() -> None:
    op.create_table(
        "logged_models",
        number("id"),
        *texts("model_id"),
        refers("experiment_id", "experiments.experiment_id"),
        *texts("name", "artifact_uri", "status"),
        *texts("model_type", "source_run_id", "status_message", nullable=True),
        *longs("creation_timestamp", "last_updated_timestamp"),
        *texts("lifecycle_stage"),
        sa.UniqueConstraint("model_id", name="uq_logged_models_model_id"),
    )
    created = ["experiment_id", "lifecycle_stage", descending("creation_timestamp"), "model_id"]
    op.create_index("ix_logged_models_created", "logged_models", created)
    op.create_index("ix_logged_models_name", "logged_models", ["experiment_id", head("name")])
    op.create_index("ix_logged_models_run", "logged_models", ["source_run_id"])
    make_keyed("logged_model_params", refers("model", "logged_models.id"))
    make_keyed("logged_model_tags", refers("model", "logged_models.id"))
    op.create_table(
        "logged_model_metrics",
        *ids("model"),
        *texts("key", "dataset_name", "dataset_digest", "run_id"),
        *doubles("value"),
        *longs("timestamp", "step"),
        *small_integers("is_nan"),
        sa.PrimaryKeyConstraint("model", "key", "dataset_name", "dataset_digest", "run_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_logged_model_metrics_value", "logged_model_metrics", ["key", "is_nan", "value", "model"])
