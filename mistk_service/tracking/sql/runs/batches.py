"""Writes metrics, params and tags to a run: the fast path for training loops."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Insert, bindparam, select, tuple_, update

from mistk_service.tracking.errors import InvalidParameter, ResourceNotFound
from mistk_service.tracking.sql.base import SqlPart
from mistk_service.tracking.sql.engine.database import Database
from mistk_service.tracking.sql.tables import (
    latest_metrics,
    logged_model_metrics,
    logged_models,
    metrics,
    params,
    run_tags,
    runs,
)
from mistk_service.tracking.values import LifecycleStage, Metric, Param, Tag
from mistk_service.tracking.values.limits import (
    MAX_DATASET_DIGEST,
    MAX_DATASET_NAME,
    MAX_KEY,
    check_metrics,
    check_params,
    check_run_id,
    check_run_tags,
    check_text,
    check_total,
    last_of_each_key,
)

#: The tag with the run's name.
RUN_NAME = "mlflow.runName"

_Work = Callable[[Connection], None]

# In the order of the table's columns, whose primary key is the order of a history.
_POINT = ("timestamp", "step", "value", "is_nan")


def stored_value(value: float) -> tuple[float, int]:
    """Return a metric's value as it is stored: the number, and 1 if it is NaN."""
    return (0.0, 1) if math.isnan(value) else (value, 0)


class Batches(SqlPart):
    """Writes batches; the statements are prepared once, since they are executed most often.

    Attributes:
        set_tag: the statement that sets a tag of a run.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._find_run = self._prepare(
            select(runs.c.id, runs.c.lifecycle_stage)
            .where(runs.c.run_id == bindparam("run_id"))
            .with_for_update(key_share=True)
        )
        self._add_point = self._prepare(self._insert_row(metrics).on_conflict_do_nothing())
        self._set_latest = self._prepare(self._latest_upsert(latest_metrics))
        self._add_model_point = self._prepare(self._insert_row(logged_model_metrics).on_conflict_do_nothing())
        self._add_param = self._prepare(self._insert_row(params).on_conflict_do_nothing())
        self._get_params = self._prepare(select(params.c.key, params.c.value).where(params.c.run == bindparam("run")))
        self._get_param = self._prepare(
            select(params.c.key, params.c.value).where(
                params.c.run == bindparam("run"), params.c.key == bindparam("key")
            )
        )
        self.set_tag = self._prepare(self._upsert_values(run_tags, parameters=True))
        self._rename = self._prepare(
            update(runs).where(runs.c.id == bindparam("run")).values(name=bindparam("new_name"))
        )

    def batch(
        self, run_id: str, new_metrics: Sequence[Metric], new_params: Sequence[Param], new_tags: Sequence[Tag]
    ) -> _Work:
        """Check a batch as far as possible without the database, and return the function that writes it.

        Raises:
            InvalidParameter: a limit is exceeded, or a name is not acceptable.
        """
        single = len(new_metrics) + len(new_params) + len(new_tags) == 1
        check_run_id(run_id)
        check_total(len(new_metrics), len(new_params), len(new_tags))
        check_metrics(new_metrics, single=single)
        stored_params = check_params(new_params, single=single)
        stored_tags = last_of_each_key(check_run_tags(new_tags, single=single))
        of_models = [metric for metric in new_metrics if metric.model_id]
        _check_origins(of_models)
        record = self._db.journal_writer.batch(run_id, new_metrics, stored_params, stored_tags)

        def work(connection: Connection) -> None:
            run = self.active_run(connection, run_id)
            if stored_params:
                self._write_params(connection, run, stored_params)
            if new_metrics:
                self._write_metrics(connection, run, new_metrics)
            if of_models:
                self._write_model_metrics(connection, run_id, of_models)
            if stored_tags:
                self.write_tags(connection, run, stored_tags)
            record(connection)

        return work

    def active_run(self, connection: Connection, run_id: str) -> int:
        """Return the number of a run that may be written to; other processes cannot change it until the commit.

        Raises:
            ResourceNotFound: the run does not exist.
            InvalidParameter: it is deleted.
        """
        rows = self._find_run.rows(connection, run_id=run_id)
        if not rows:
            raise run_not_found(run_id)
        number, stage = rows[0]
        if stage != LifecycleStage.ACTIVE.value:
            raise InvalidParameter(
                f"The run {run_id} must be in the 'active' state. Current state is {stage}.", field="run_id"
            )
        return int(number)

    def write_tags(self, connection: Connection, run: int, tags: Iterable[Tag]) -> None:
        """Set tags of a run; the tag with the run's name renames it."""
        for tag in tags:
            self.set_tag.execute(connection, run=run, key=tag.key, value=tag.value)
            if tag.key == RUN_NAME:
                self._rename.execute(connection, run=run, new_name=tag.value)

    def _write_params(self, connection: Connection, run: int, new: Sequence[Param]) -> None:
        for param in new:
            self._add_param.execute(connection, run=run, key=param.key, value=param.value)
        if len(new) == 1:
            there = dict(map(tuple, self._get_param.rows(connection, run=run, key=new[0].key)))
        else:
            there = dict(map(tuple, self._get_params.rows(connection, run=run)))
        for param in new:
            old = there[param.key]
            if old != param.value:
                raise InvalidParameter(
                    f"Changing param values is not allowed. Param with key='{param.key}' was already logged with "
                    f"value='{old[:500]}' for this run; attempted to log the new value '{param.value[:500]}'.",
                    field=param.key,
                )

    def _write_metrics(self, connection: Connection, run: int, new: Sequence[Metric]) -> None:
        points = [(run, m.key, m.timestamp, m.step, *stored_value(m.value)) for m in new]
        self._add_point.insert_rows(connection, ("run", "key", *_POINT), points)
        latest: dict[str, tuple[Any, ...]] = {}
        for point in points:
            best = latest.get(point[1])
            # By step, timestamp and value, as the statement compares it with stored points.
            if best is None or (point[3], point[2], point[4]) > (best[3], best[2], best[4]):
                latest[point[1]] = point
        self._set_latest.execute_rows(connection, ("run", "key", *_POINT), list(latest.values()))

    def _write_model_metrics(self, connection: Connection, run_id: str, new: Sequence[Metric]) -> None:
        wanted = {metric.model_id for metric in new}
        rows = connection.execute(
            select(logged_models.c.model_id, logged_models.c.id).where(logged_models.c.model_id.in_(wanted))
        )
        numbers = dict(map(tuple, rows))
        for metric in new:
            number = numbers.get(metric.model_id)
            if number is None:
                raise ResourceNotFound(f"Logged model with ID '{metric.model_id}' not found.")
            value, is_nan = stored_value(metric.value)
            self._add_model_point.execute(
                connection,
                model=number,
                key=metric.key,
                dataset_name=metric.dataset_name or "",
                dataset_digest=metric.dataset_digest or "",
                run_id=run_id,
                value=value,
                timestamp=metric.timestamp,
                step=metric.step,
                is_nan=is_nan,
            )

    def _latest_upsert(self, table: Any) -> Insert:
        """Return an insert of a point that replaces a stored one only if it is greater."""
        insert = self._insert_row(table)
        new, old = insert.excluded, table.c
        return insert.on_conflict_do_update(
            index_elements=[column.name for column in table.primary_key],
            set_={name: new[name] for name in _POINT},
            where=tuple_(new.step, new.timestamp, new.value) > tuple_(old.step, old.timestamp, old.value),
        )


def run_not_found(run_id: str) -> ResourceNotFound:
    """Return the error for a run that does not exist."""
    return ResourceNotFound(f"Run with id={run_id} not found")


def _check_origins(of_models: Iterable[Metric]) -> None:
    for metric in of_models:
        check_text(metric.model_id or "", "model_id", MAX_KEY)
        check_text(metric.dataset_name or "", "dataset_name", MAX_DATASET_NAME)
        check_text(metric.dataset_digest or "", "dataset_digest", MAX_DATASET_DIGEST)
