"""The datasets and models that go into runs, and the models that come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Table, select
from sqlalchemy.dialects import sqlite

from mistk_service.tracking.errors import InvalidParameter
from mistk_service.tracking.sql.tables import datasets, input_tags, run_datasets, run_models, runs
from mistk_service.tracking.values import DatasetInput
from mistk_service.tracking.values.limits import MAX_KEY, check_text, last_of_each_key

__all__ = ["add_dataset", "add_models", "model_row"]

_MakeInsert = Callable[[Table], sqlite.Insert]


def add_dataset(connection: Connection, insert: _MakeInsert, run: int, use: DatasetInput) -> None:
    """Record that a run uses a dataset; a use that is there already keeps its tags."""
    item = use.dataset
    experiment = select(runs.c.experiment_id).where(runs.c.id == run).scalar_subquery()
    identity = {"name": item.name, "digest": item.digest}
    connection.execute(
        insert(datasets)
        .values(
            experiment_id=experiment,
            **identity,
            source_type=item.source_type,
            source=item.source,
            schema=item.schema,
            profile=item.profile,
        )
        .on_conflict_do_nothing()
    )
    number = connection.execute(
        select(datasets.c.id).where(
            datasets.c.experiment_id == experiment, *(datasets.c[key] == value for key, value in identity.items())
        )
    ).scalar_one()
    use_number = connection.execute(
        insert(run_datasets).values(run=run, dataset_id=number).on_conflict_do_nothing().returning(run_datasets.c.id)
    ).scalar()
    tags = last_of_each_key(use.tags)
    if use_number is not None and tags:
        rows = [{"input_id": use_number, "key": tag.key, "value": tag.value} for tag in tags]
        connection.execute(insert(input_tags), rows)


def model_row(direction: str, model_id: str, step: int = 0) -> dict[str, Any]:
    """Return the row for a model that goes into a run or comes out of it.

    Raises:
        InvalidParameter: the model's id is empty or too long.
    """
    if not check_text(model_id, "models.model_id", MAX_KEY):
        raise InvalidParameter("Missing value for required parameter 'models.model_id'.", field="models.model_id")
    return {"direction": direction, "model_id": model_id, "step": step}


def add_models(connection: Connection, insert: _MakeInsert, run: int, rows: Sequence[dict[str, Any]]) -> None:
    """Record models of a run; those that are there already are left alone."""
    if rows:
        connection.execute(insert(run_models).on_conflict_do_nothing(), [{"run": run, **row} for row in rows])
