"""Reading logged models with their data: a fixed number of statements for any number of models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Text, select

from mistk_service.tracking.sql.base import grouped
from mistk_service.tracking.sql.engine.statements import ids_parameter, members
from mistk_service.tracking.sql.tables import (
    logged_model_metrics,
    logged_model_params,
    logged_model_tags,
    model_versions,
)
from mistk_service.tracking.values import (
    LoggedModel,
    LoggedModelRegistration,
    LoggedModelStatus,
    Metric,
    Param,
    Tag,
)

#: The stored names of statuses, which filters use too.
STATUS_WORDS = {
    LoggedModelStatus.LOGGED_MODEL_STATUS_UNSPECIFIED: "UNSPECIFIED",
    LoggedModelStatus.LOGGED_MODEL_PENDING: "PENDING",
    LoggedModelStatus.LOGGED_MODEL_READY: "READY",
    LoggedModelStatus.LOGGED_MODEL_UPLOAD_FAILED: "FAILED",
}
_STATUSES = {word: status for status, word in STATUS_WORDS.items()}


def read_models(connection: Connection, rows: Sequence[Row[Any]]) -> list[LoggedModel]:
    """Return the models of rows of ``logged_models``, in the same order."""
    if not rows:
        return []
    ids = {"ids": ids_parameter(connection.dialect, [row.id for row in rows])}
    some = members(connection.dialect)
    owned = [
        connection.execute(select(table).where(table.c.model.in_(some)).order_by(table.c.model, table.c.key), ids)
        for table in (logged_model_params, logged_model_tags)
    ]
    params, tags = grouped(owned[0].fetchall(), Param), grouped(owned[1].fetchall(), Tag)
    metrics = _metrics(connection, {row.id: row.model_id for row in rows}, some, ids)
    registrations = _registrations(connection, [row.model_id for row in rows])
    return [
        LoggedModel(
            model_id=row.model_id,
            experiment_id=str(row.experiment_id),
            name=row.name,
            creation_timestamp=row.creation_timestamp,
            last_updated_timestamp=row.last_updated_timestamp,
            artifact_uri=row.artifact_uri,
            status=_STATUSES[row.status],
            model_type=row.model_type,
            source_run_id=row.source_run_id,
            status_message=row.status_message,
            tags=tags.get(row.id, ()),
            registrations=tuple(registrations.get(row.model_id, ())),
            params=params.get(row.id, ()),
            metrics=tuple(metrics.get(row.id, ())),
        )
        for row in rows
    ]


def _metrics(connection: Connection, names: dict[int, str], some: Any, ids: Any) -> dict[int, list[Metric]]:
    table = logged_model_metrics
    found: dict[int, list[Metric]] = {}
    statement = select(table).where(table.c.model.in_(some)).order_by(*table.primary_key.columns)
    for row in connection.execute(statement, ids):
        point = Metric(
            key=row.key,
            value=float("nan") if row.is_nan else row.value,
            timestamp=row.timestamp,
            step=row.step,
            model_id=names[row.model],
            dataset_name=row.dataset_name or None,
            dataset_digest=row.dataset_digest or None,
            run_id=row.run_id or None,
        )
        found.setdefault(row.model, []).append(point)
    return found


def _registrations(connection: Connection, model_ids: Sequence[str]) -> dict[str, list[LoggedModelRegistration]]:
    table = model_versions
    found: dict[str, list[LoggedModelRegistration]] = {}
    statement = (
        select(table.c.model_id, table.c.name, table.c.version)
        .where(table.c.model_id.in_(members(connection.dialect, kind=Text())))
        .order_by(table.c.name, table.c.version)
    )
    for model_id, name, version in connection.execute(statement, {"ids": ids_parameter(connection.dialect, model_ids)}):
        found.setdefault(model_id, []).append(LoggedModelRegistration(name, str(version)))
    return found
