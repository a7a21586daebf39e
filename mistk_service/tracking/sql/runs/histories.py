"""Histories of metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import nan
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, literal_column, or_, select

from mistk_service.tracking.errors import InvalidParameter
from mistk_service.tracking.sql.base import SqlPart
from mistk_service.tracking.sql.engine.database import Database
from mistk_service.tracking.sql.runs.reader import RUN_COLUMNS
from mistk_service.tracking.sql.search import page_tokens
from mistk_service.tracking.sql.search.queries import SortKey, after
from mistk_service.tracking.sql.tables import metrics, runs
from mistk_service.tracking.values import Metric
from mistk_service.tracking.values.limits import (
    INTERVAL_RUNS,
    MAX_POINTS_PAGE,
    check_max_results,
    check_run_ids,
    check_text,
)
from mistk_service.tracking.values.page import Page

_MAX_BULK = 25_000
_MAX_INTERVAL = 2500

_POINT = (metrics.c.timestamp, metrics.c.step, metrics.c.value, metrics.c.is_nan)
_SORT = [SortKey(column, ascending=True, kind=float if column is metrics.c.value else int) for column in _POINT]


class Histories(SqlPart):
    """Reads the points of metrics."""

    def __init__(self, database: Database, artifact_root: str) -> None:
        super().__init__(database, artifact_root)
        self._one_run = self._prepare(select(*RUN_COLUMNS).where(runs.c.run_id == bindparam("run_id")))
        of_metric = (metrics.c.run == bindparam("run"), metrics.c.key == bindparam("key"))
        history = select(*_POINT).where(*of_metric).order_by(*_POINT)
        # A literal, since SQLAlchemy would bind the number.
        page = history.limit(bindparam("limit")).offset(literal_column("0"))
        place = [bindparam(f"after_{column.name}", type_=column.type) for column in _POINT]
        self._history = self._prepare(history)
        self._page = self._prepare(page)
        self._next_page = self._prepare(page.where(after(_SORT, place)))

    def get_metric_history(
        self, run_id: str, key: str, max_results: int | None = None, page_token: str | None = None
    ) -> Page[Metric]:
        check_text(run_id, "run_id")
        check_text(key, "metric_key")
        if max_results is not None:
            check_max_results(max_results, MAX_POINTS_PAGE)
        search = f"history {run_id} {key}"
        place = page_tokens.decode(page_token, search, [k.kind for k in _SORT]) if page_token else None
        with self._db.snapshot() as connection:
            found = self._one_run.rows(connection, run_id=run_id)
            if not found:
                return Page(())
            run = found[0][0]
            if max_results is None and place is None:
                rows = self._history.rows(connection, run=run, key=key)
            else:
                rows = self._some_points(connection, run, key, max_results, place)
        token = None
        if max_results is not None and len(rows) > max_results:
            last = tuple(rows[max_results - 1])
            token = page_tokens.encode(search, [k.kind(v) for k, v in zip(_SORT, last, strict=True)])
        points = [Metric(key, nan if n else value, timestamp, step) for timestamp, step, value, n in rows[:max_results]]
        return Page(tuple(points), token)

    def _some_points(
        self, connection: Connection, run: int, key: str, max_results: int | None, place: Sequence[Any] | None
    ) -> Sequence[Any]:
        limit = (MAX_POINTS_PAGE if max_results is None else max_results) + 1
        if place is None:
            return self._page.rows(connection, run=run, key=key, limit=limit)
        values = {f"after_{column.name}": value for column, value in zip(_POINT, place, strict=True)}
        return self._next_page.rows(connection, run=run, key=key, limit=limit, **values)

    def get_metric_history_bulk(self, run_ids: Sequence[str], key: str, max_results: int = _MAX_BULK) -> list[Metric]:
        check_text(key, "metric_key")
        limit = min(check_max_results(max_results, MAX_POINTS_PAGE), _MAX_BULK)
        statement = (
            select(*_POINT, runs.c.run_id)
            .join(runs, runs.c.id == metrics.c.run)
            .where(runs.c.run_id.in_(check_run_ids(run_ids)), metrics.c.key == key)
            .order_by(runs.c.run_id, *_POINT)
            .limit(limit)
        )
        with self._db.read() as connection:
            return _points(key, connection.execute(statement).fetchall())

    def get_metric_history_interval(
        self,
        run_ids: Sequence[str],
        key: str,
        start_step: int | None = None,
        end_step: int | None = None,
        max_results: int = _MAX_INTERVAL,
    ) -> list[Metric]:
        check_text(key, "metric_key")
        check_max_results(max_results, _MAX_INTERVAL)
        wanted, between = check_run_ids(run_ids, INTERVAL_RUNS), _between(start_step, end_step)
        found: list[Metric] = []
        with self._db.snapshot() as connection:
            numbers = select(runs.c.run_id, runs.c.id).where(runs.c.run_id.in_(wanted))
            known = dict(map(tuple, connection.execute(numbers)))
            # One run after the other, so that the database only sorts the points of one.
            for run_id in wanted:
                if run_id in known:
                    conditions = [metrics.c.run == known[run_id], metrics.c.key == key, *between]
                    rows = _sample(connection, conditions, max_results)
                    found += _points(key, [(*row, run_id) for row in rows])
        return found


def _points(key: str, rows: Iterable[Any]) -> list[Metric]:
    """Return the points of rows of (timestamp, step, value, is_nan, run_id)."""
    return [
        Metric(key, nan if is_nan else value, timestamp, step, run_id=run_id)
        for timestamp, step, value, is_nan, run_id in rows
    ]


def _between(start_step: int | None, end_step: int | None) -> list[Any]:
    if start_step is None and end_step is None:
        return []
    if start_step is None or end_step is None:
        raise InvalidParameter(
            "If either start step or end step are specified, both must be specified.", field="start_step"
        )
    if start_step > end_step:
        raise InvalidParameter(
            f"end_step must be greater than start_step. Found start_step={start_step} and end_step={end_step}.",
            field="start_step",
        )
    return [metrics.c.step.between(start_step, end_step)]


def _sample(connection: Connection, conditions: Sequence[Any], limit: int) -> Sequence[Any]:
    """Return MLflow's sample of a run's points, as rows of ``_POINT``.

    It divides them into ``limit`` buckets as NTILE does, the first ones larger by one point than the others, and takes the
    first of each bucket; the last of these is replaced by the last point. Which rows these are follows from
    their number, so that the database need not store buckets.
    """
    total = connection.execute(select(func.count()).select_from(metrics).where(*conditions)).scalar_one()
    by_step = (metrics.c.step, metrics.c.timestamp, metrics.c.value, metrics.c.is_nan)
    if total <= limit:
        return connection.execute(select(*_POINT).where(*conditions).order_by(*by_step)).fetchall()
    size, larger = divmod(total, limit)
    numbered = (
        select(*_POINT, (func.row_number().over(order_by=by_step) - 1).label("place"))
        .where(*conditions)
        .subquery("numbered")
    )
    place, head = numbered.c.place, larger * (size + 1)
    first = or_(and_(place < head, place % (size + 1) == 0), and_(place >= head, (place - head) % size == 0))
    sampled = or_(and_(first, place < total - size), place == total - 1)
    return connection.execute(select(*list(numbered.c)[: len(_POINT)]).where(sampled).order_by(place)).fetchall()
