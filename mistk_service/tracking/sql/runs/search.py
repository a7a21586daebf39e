"""The search for runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Dialect, select

from mistk_service.tracking.filters import RUNS, Entity, parse_filter, parse_order
from mistk_service.tracking.sql.runs.experiments import stages
from mistk_service.tracking.sql.search.queries import Keyed, Query, Searchable
from mistk_service.tracking.sql.tables import datasets, input_tags, latest_metrics, params, run_datasets, run_tags, runs
from mistk_service.tracking.values import ViewType
from mistk_service.tracking.values.limits import experiment_number

_CONTEXT = "mlflow.data.context"

_Compare = Callable[[ColumnElement[Any]], ColumnElement[bool]]


def _uses_dataset(field: str, compare: _Compare) -> ColumnElement[bool]:
    used = select(run_datasets.c.run).join(datasets, datasets.c.id == run_datasets.c.dataset_id)
    if field == "context":
        used = select(run_datasets.c.run).join(input_tags, input_tags.c.input_id == run_datasets.c.id)
        return runs.c.id.in_(used.where(input_tags.c.key == _CONTEXT, compare(input_tags.c.value)))
    return runs.c.id.in_(used.where(compare(datasets.c[field])))


_SEARCHABLE = Searchable(
    name="runs",
    table=runs,
    attributes={
        "run_id": runs.c.run_id,
        "run_name": runs.c.name,
        "status": runs.c.status,
        "user_id": runs.c.user_id,
        "artifact_uri": runs.c.artifact_uri,
        "start_time": runs.c.start_time,
        "end_time": runs.c.end_time,
    },
    headed=frozenset({"run_name", "user_id"}),
    keyed={
        Entity.METRIC: Keyed(latest_metrics, (("run", runs.c.id),)),
        Entity.PARAM: Keyed(params, (("run", runs.c.id),)),
        Entity.TAG: Keyed(run_tags, (("run", runs.c.id),)),
    },
    datasets=_uses_dataset,
    default=(("start_time", False), ("run_id", True)),
)


def run_query(
    dialect: Dialect, experiment_ids: Sequence[str], filter: str, view_type: ViewType, order_by: Sequence[str]
) -> Query:
    """Return the query for a search for runs."""
    query = Query(_SEARCHABLE, dialect)
    numbers = sorted({experiment_number(experiment_id, "experiment_ids") for experiment_id in experiment_ids})
    # One experiment is the common case, and only with an equality an index provides the order too.
    query.where(runs.c.experiment_id == numbers[0] if len(numbers) == 1 else runs.c.experiment_id.in_(numbers))
    shown = stages(view_type)
    query.where(runs.c.lifecycle_stage == shown[0] if len(shown) == 1 else runs.c.lifecycle_stage.in_(shown))
    query.filter(parse_filter(filter, RUNS))
    query.order(parse_order(order_by, RUNS))
    return query
