"""Client-side searches for servers without filters: conditions, orders and pages over lists."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, TypeVar

from mistk_service.tracking.errors import InvalidPageToken
from mistk_service.tracking.filters import (
    EXPERIMENTS,
    OPERATORS,
    RUNS,
    Comparator,
    Comparison,
    Entity,
    Order,
    parse_filter,
    parse_order,
)
from mistk_service.tracking.values import Experiment, LifecycleStage, Metric, Param, Run, Tag, ViewType
from mistk_service.tracking.values.page import Page

T = TypeVar("T")
#: Returns the values that an item has for a key, any of which may meet a condition; none if it lacks the key.
_Values = Callable[[T, Entity, str], Sequence[Any]]

_TOKEN = re.compile(r"offset-(\d{1,9})")
#: The tag with the use of a dataset.
CONTEXT = "mlflow.data.context"


@lru_cache(maxsize=64)
def _pattern(like: str) -> re.Pattern[str]:
    parts = {"%": ".*", "_": "."}
    return re.compile("".join(parts.get(letter) or re.escape(letter) for letter in like), re.DOTALL)


_C = Comparator
_COMPARE: dict[Comparator, Callable[[Any, Any], bool]] = {
    **OPERATORS,
    _C.LIKE: lambda have, want: _pattern(want).fullmatch(have) is not None,
    _C.ILIKE: lambda have, want: _pattern(want.lower()).fullmatch(have.lower()) is not None,
    _C.IN: lambda have, want: have in want,
    _C.NOT_IN: lambda have, want: have not in want,
}


def search_runs(
    runs: Iterable[Run], filter: str, view_type: ViewType, max_results: int, order_by: Sequence[str], token: str | None
) -> Page[Run]:
    """Return a page of the runs that match; see :meth:`mistk_service.tracking.store.Store.search_runs`."""
    conditions, orders = parse_filter(filter, RUNS), list(parse_order(order_by, RUNS))
    if not any(order.key == "start_time" and order.entity is Entity.ATTRIBUTE for order in orders):
        orders.append(Order(Entity.ATTRIBUTE, "start_time", ascending=False))
    orders.append(Order(Entity.ATTRIBUTE, "run_id"))
    found = [
        run for run in runs if _in_view(run.info.lifecycle_stage, view_type) and _matches(run, conditions, _of_run)
    ]
    return _page(_ordered(found, orders, _of_run), max_results, token)


def search_experiments(
    experiments: Iterable[Experiment],
    filter: str,
    view_type: ViewType,
    max_results: int,
    order_by: Sequence[str],
    token: str | None,
) -> Page[Experiment]:
    """Return a page of the experiments that match; see :meth:`mistk_service.tracking.store.Store.search_experiments`."""
    conditions, orders = parse_filter(filter, EXPERIMENTS), list(parse_order(order_by, EXPERIMENTS))
    ascending = not orders
    if not orders:
        orders.append(Order(Entity.ATTRIBUTE, "creation_time", ascending=False))
    orders.append(Order(Entity.ATTRIBUTE, "experiment_id", ascending=ascending))
    found = [
        experiment
        for experiment in experiments
        if _in_view(experiment.lifecycle_stage, view_type) and _matches(experiment, conditions, _of_experiment)
    ]
    return _page(_ordered(found, orders, _of_experiment), max_results, token)


def _of_run(run: Run, entity: Entity, key: str) -> Sequence[Any]:
    if entity is Entity.ATTRIBUTE:
        value = getattr(run.info, key)
        return () if value is None else (value.name if key == "status" else value,)
    if entity is Entity.METRIC:
        return _values(run.data.metrics, key)
    if entity is Entity.PARAM:
        return _values(run.data.params, key)
    if entity is Entity.TAG:
        return _values(run.data.tags, key)
    uses = run.inputs.dataset_inputs
    if key == "context":
        return [value for use in uses for value in _values(use.tags, CONTEXT)]
    return [getattr(use.dataset, key) for use in uses]


def _of_experiment(experiment: Experiment, entity: Entity, key: str) -> Sequence[Any]:
    if entity is Entity.TAG:
        return _values(experiment.tags, key)
    value = getattr(experiment, key)
    return (int(value) if key == "experiment_id" and value.isdecimal() else value,)


def _values(items: Iterable[Tag | Param | Metric], key: str) -> Sequence[Any]:
    return [item.value for item in items if item.key == key]


def _in_view(stage: LifecycleStage, view_type: ViewType) -> bool:
    if view_type is ViewType.ALL:
        return True
    return (stage is LifecycleStage.ACTIVE) == (view_type is ViewType.ACTIVE_ONLY)


def _matches(item: T, conditions: Iterable[Comparison], values: _Values[T]) -> bool:
    return all(_holds(condition, values(item, condition.entity, condition.key)) for condition in conditions)


def _holds(condition: Comparison, found: Sequence[Any]) -> bool:
    """Return whether a condition is met. A negative condition requires the key too."""
    if condition.comparator is _C.IS_NULL:
        return not found
    if condition.comparator is _C.IS_NOT_NULL:
        return bool(found)
    compare = _COMPARE[condition.comparator]
    return any(compare(*_comparable(value, condition.value)) for value in found)


def _comparable(have: Any, want: Any) -> tuple[Any, Any]:
    """Return two values of one type: ids are numbers in items and text in filters."""
    if isinstance(have, int) and isinstance(want, str):
        return str(have), want
    if isinstance(have, int) and isinstance(want, tuple):
        return str(have), tuple(map(str, want))
    return have, want


def _ordered(items: list[T], orders: Sequence[Order], values: _Values[T]) -> list[T]:
    """Sort by the last key first, since sorting is stable."""
    for order in reversed(orders):
        plain, nan, absent = [], [], []
        for item in items:
            value = next(iter(values(item, order.entity, order.key)), None)
            if value is None:
                absent.append(item)
            elif isinstance(value, float) and math.isnan(value):
                nan.append(item)
            else:
                plain.append((value, item))
        plain.sort(key=itemgetter(0), reverse=not order.ascending)
        items = [*(item for _, item in plain), *nan, *absent]
    return items


def _page(items: Sequence[T], max_results: int, token: str | None) -> Page[T]:
    start = 0
    if token:
        found = _TOKEN.fullmatch(token)
        if not found:
            raise InvalidPageToken("Invalid page token; expected one that this search returned.", field="page_token")
        start = int(found[1])
    end = start + max_results
    return Page(tuple(items[start:end]), f"offset-{end}" if end < len(items) else None)
