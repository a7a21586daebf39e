"""The tables.

A run has a public id, and an internal number for references from the big tables. Text is compared by code points on every
database. A metric that is NaN is stored as the value 0 with ``is_nan`` set, since databases disagree about NaN. Values of
params and tags are indexed by their first characters, because index entries have a size limit.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.types import DOUBLE_PRECISION, REAL, TypeEngine

#: The number of characters of a value in its index.
VALUE_HEAD = 256

metadata = MetaData()

_Text = Text().with_variant(Text(collation="C"), "postgresql")
_Double: TypeEngine[float] = REAL().with_variant(DOUBLE_PRECISION(), "postgresql")
# SQLite only numbers rows automatically if the type is exactly INTEGER.
Id = BigInteger().with_variant(Integer(), "sqlite")
Small = SmallInteger()


def column(name: str, kind: TypeEngine[Any] = _Text, *args: Any, **options: Any) -> Column[Any]:
    """Return a column, by default of text and not NULL."""
    options.setdefault("nullable", False)
    return Column(name, kind, *args, **options)


def texts(*names: str, nullable: bool = False) -> list[Column[Any]]:
    """Return columns of text."""
    return [column(name, nullable=nullable) for name in names]


def longs(*names: str) -> list[Column[Any]]:
    """Return columns of whole numbers of 64 bits."""
    return [column(name, BigInteger()) for name in names]


def number(name: str) -> Column[Any]:
    """Return the primary key of a table whose rows are numbered."""
    return Column(name, Id, Identity(), primary_key=True)


def head(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the first characters of a column's values, for its index."""
    # Literals, not parameters: an index is only used if the expression in the query is the same text.
    return func.substr(column, text("1"), text(str(VALUE_HEAD)))


def _keyed(name: str, owner: Column[Any]) -> Table:
    """Return a table of keys and values that belong to rows of another table."""
    table = Table(
        name,
        metadata,
        owner,
        column("key"),
        column("value"),
        PrimaryKeyConstraint(owner.name, "key"),
        sqlite_with_rowid=False,
    )
    Index(f"ix_{name}_value", table.c.key, head(table.c.value), table.c[owner.name])
    return table


experiments = Table(
    "experiments",
    metadata,
    number("experiment_id"),
    *texts("name", "artifact_location", "lifecycle_stage"),
    *longs("creation_time", "last_update_time"),
    UniqueConstraint("name", name="uq_experiments_name"),
)
Index(
    "ix_experiments_created",
    experiments.c.lifecycle_stage,
    experiments.c.creation_time.desc(),
    experiments.c.experiment_id,
)
Index("ix_experiments_updated", experiments.c.last_update_time)
experiment_tags = _keyed("experiment_tags", column("experiment_id", Id, ForeignKey("experiments.experiment_id")))

runs = Table(
    "runs",
    metadata,
    number("id"),
    column("run_id"),
    column("experiment_id", Id, ForeignKey("experiments.experiment_id")),
    *texts("name", "user_id", "status"),
    column("start_time", BigInteger()),
    column("end_time", BigInteger(), nullable=True),
    *texts("artifact_uri", "lifecycle_stage"),
    # The time of the last deletion, in ms since 1970.
    column("deleted_time", BigInteger(), nullable=True),
    UniqueConstraint("run_id", name="uq_runs_run_id"),
)
Index("ix_runs_start", runs.c.experiment_id, runs.c.lifecycle_stage, runs.c.start_time.desc(), runs.c.run_id)
Index("ix_runs_end", runs.c.experiment_id, runs.c.end_time)
Index("ix_runs_name", runs.c.experiment_id, head(runs.c.name))
Index("ix_runs_status", runs.c.experiment_id, runs.c.status)
Index("ix_runs_user", runs.c.experiment_id, head(runs.c.user_id))

# The biggest table: its primary key is its only index, and is the order in which histories are read.
metrics = Table(
    "metrics",
    metadata,
    column("run", Id),
    column("key"),
    *longs("timestamp", "step"),
    column("value", _Double),
    column("is_nan", Small),
    PrimaryKeyConstraint("run", "key", "timestamp", "step", "value", "is_nan"),
    sqlite_with_rowid=False,
)
latest_metrics = Table(
    "latest_metrics",
    metadata,
    column("run", Id),
    column("key"),
    column("value", _Double),
    *longs("timestamp", "step"),
    column("is_nan", Small),
    PrimaryKeyConstraint("run", "key"),
    sqlite_with_rowid=False,
)
Index(
    "ix_latest_metrics_value",
    latest_metrics.c.key,
    latest_metrics.c.is_nan,
    latest_metrics.c.value,
    latest_metrics.c.run,
)
params = _keyed("params", column("run", Id, ForeignKey("runs.id")))
run_tags = _keyed("run_tags", column("run", Id, ForeignKey("runs.id")))

datasets = Table(
    "datasets",
    metadata,
    number("id"),
    column("experiment_id", Id, ForeignKey("experiments.experiment_id")),
    *texts("name", "digest", "source_type", "source"),
    *texts("schema", "profile", nullable=True),
    UniqueConstraint("experiment_id", "name", "digest", name="uq_datasets_identity"),
)
Index("ix_datasets_name", datasets.c.name)
Index("ix_datasets_digest", datasets.c.digest)
run_datasets = Table(
    "run_datasets",
    metadata,
    number("id"),
    column("run", Id, ForeignKey("runs.id")),
    column("dataset_id", Id, ForeignKey("datasets.id")),
    UniqueConstraint("run", "dataset_id", name="uq_run_datasets_identity"),
)
Index("ix_run_datasets_dataset", run_datasets.c.dataset_id, run_datasets.c.run)
input_tags = _keyed("input_tags", column("input_id", Id, ForeignKey("run_datasets.id")))
run_models = Table(
    "run_models",
    metadata,
    number("id"),
    column("run", Id, ForeignKey("runs.id")),
    *texts("direction", "model_id"),
    column("step", BigInteger()),
    UniqueConstraint("run", "direction", "model_id", "step", name="uq_run_models_identity"),
)

registered_models = Table(
    "registered_models",
    metadata,
    column("name", primary_key=True),
    *longs("creation_timestamp", "last_updated_timestamp"),
    *texts("description", "deployment_job_id", nullable=True),
    # Not decreased when versions are deleted, so that a number is never reused.
    column("last_version", Integer()),
)
Index("ix_registered_models_updated", registered_models.c.last_updated_timestamp.desc(), registered_models.c.name)


def _of_model() -> Column[Any]:
    return column("name", _Text, ForeignKey("registered_models.name", ondelete="CASCADE", onupdate="CASCADE"))


registered_model_tags = _keyed("registered_model_tags", _of_model())
model_versions = Table(
    "model_versions",
    metadata,
    _of_model(),
    column("version", Integer()),
    *longs("creation_timestamp", "last_updated_timestamp"),
    *texts("current_stage", "description", "source"),
    # The location of the files, which differs from the source if that names another version.
    *texts("storage_location", "run_id", "run_link", "status"),
    *texts("status_message", "model_id", nullable=True),
    PrimaryKeyConstraint("name", "version"),
)
Index(
    "ix_model_versions_updated",
    model_versions.c.last_updated_timestamp.desc(),
    model_versions.c.name,
    model_versions.c.version.desc(),
)
Index("ix_model_versions_run", model_versions.c.run_id)
Index("ix_model_versions_model", model_versions.c.model_id)
Index("ix_model_versions_source", head(model_versions.c.source))
registered_model_aliases = Table(
    "registered_model_aliases",
    metadata,
    *texts("name", "alias"),
    column("version", Integer()),
    PrimaryKeyConstraint("name", "alias"),
    ForeignKeyConstraint(
        ["name", "version"],
        ["model_versions.name", "model_versions.version"],
        ondelete="CASCADE",
        onupdate="CASCADE",
    ),
)
model_version_tags = Table(
    "model_version_tags",
    metadata,
    column("name"),
    column("version", Integer()),
    *texts("key", "value"),
    PrimaryKeyConstraint("name", "version", "key"),
    ForeignKeyConstraint(
        ["name", "version"],
        ["model_versions.name", "model_versions.version"],
        ondelete="CASCADE",
        onupdate="CASCADE",
    ),
)
Index(
    "ix_model_version_tags_value",
    model_version_tags.c.key,
    head(model_version_tags.c.value),
)

logged_models = Table(
    "logged_models",
    metadata,
    number("id"),
    column("model_id"),
    column("experiment_id", Id, ForeignKey("experiments.experiment_id")),
    *texts("name", "artifact_uri", "status"),
    *texts("model_type", "source_run_id", "status_message", nullable=True),
    *longs("creation_timestamp", "last_updated_timestamp"),
    column("lifecycle_stage"),
    UniqueConstraint("model_id", name="uq_logged_models_model_id"),
)
Index(
    "ix_logged_models_created",
    logged_models.c.experiment_id,
    logged_models.c.lifecycle_stage,
    logged_models.c.creation_timestamp.desc(),
    logged_models.c.model_id,
)
Index("ix_logged_models_run", logged_models.c.source_run_id)
Index("ix_logged_models_name", logged_models.c.experiment_id, head(logged_models.c.name))
logged_model_params = _keyed("logged_model_params", column("model", Id, ForeignKey("logged_models.id")))
logged_model_tags = _keyed("logged_model_tags", column("model", Id, ForeignKey("logged_models.id")))
# Every point; "" if it has no dataset.
logged_model_metrics = Table(
    "logged_model_metrics",
    metadata,
    column("model", Id),
    column("key"),
    *longs("timestamp", "step"),
    *texts("run_id", "dataset_name", "dataset_digest"),
    column("value", _Double),
    column("is_nan", Small),
    PrimaryKeyConstraint(
        "model", "key", "timestamp", "step", "run_id", "dataset_name", "dataset_digest", "value", "is_nan"
    ),
    sqlite_with_rowid=False,
)
Index(
    "ix_logged_model_metrics_value",
    logged_model_metrics.c.key,
    logged_model_metrics.c.is_nan,
    logged_model_metrics.c.value,
    logged_model_metrics.c.model,
)

users = Table(
    "users",
    metadata,
    number("id"),
    *texts("username", "password_hash"),
    column("is_admin", Small),
    UniqueConstraint("username", name="uq_users_username"),
)
experiment_permissions = Table(
    "experiment_permissions",
    metadata,
    column("experiment_id", Id, ForeignKey("experiments.experiment_id", ondelete="CASCADE")),
    column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE")),
    column("permission"),
    PrimaryKeyConstraint("experiment_id", "user_id"),
)
registered_model_permissions = Table(
    "registered_model_permissions",
    metadata,
    _of_model(),
    column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE")),
    column("permission"),
    PrimaryKeyConstraint("name", "user_id"),
)
writer_leases = Table(
    "writer_leases",
    metadata,
    column("writer"),
    # In ms since 1970: when it was renewed last, and when it, or the claim, expires.
    *longs("seen_at", "expires_at"),
    # The process that ends the writer's runs, once the lease has expired.
    column("claimed_by", nullable=True),
    PrimaryKeyConstraint("writer"),
)
