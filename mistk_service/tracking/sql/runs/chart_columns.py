"""Reduces histories of metrics to the columns of pixels of a chart, without losing a peak.

A line that is drawn through the first, the lowest, the highest and the last point of each column covers the same pixels as one
that is drawn through all points.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Any

from sqlalchemy import CTE, ColumnElement, CompoundSelect, Connection, Select, and_, case, func, not_, select
from sqlalchemy import Column as SqlColumn

from mistk_service.tracking.errors import InvalidParameter
from mistk_service.tracking.sql.base import SqlPart
from mistk_service.tracking.sql.tables import metrics, runs
from mistk_service.tracking.values import Curve, CurveColumn
from mistk_service.tracking.values.limits import MAX_COLUMNS, check_max_results, check_run_ids, check_text

#: The points of a column that are drawn, so that histories with at most so many points for each column are not reduced.
_DRAWN = 4

_INT64 = 2**63

#: The factor for values before they are added up: databases refuse a sum that is not a double. PostgreSQL also refuses such a
#: product, and squares the values of an average. Values that are too small count as 0.
_SMALL = 2.0**-60
_SCALED = case((metrics.c.value.between(-1e-280, 1e-280), 0.0), else_=metrics.c.value * _SMALL)

_X = {"step": metrics.c.step, "timestamp": metrics.c.timestamp}
_PLACE = (metrics.c.timestamp, metrics.c.step, metrics.c.value, metrics.c.is_nan)

_FINITE = and_(metrics.c.is_nan == 0, metrics.c.value.between(-sys.float_info.max, sys.float_info.max))


class Columns(SqlPart):
    """Divides the points of metrics into columns."""

    def get_metric_columns(
        self,
        run_ids: Sequence[str],
        key: str,
        x: str = "step",
        start: int | None = None,
        end: int | None = None,
        columns: int = 1000,
    ) -> list[Curve]:
        check_text(key, "metric_key")
        check_max_results(columns, MAX_COLUMNS, "columns")
        if x not in _X:
            raise InvalidParameter(f"Invalid x {x[:80]!r}. Valid values are: {', '.join(_X)}.", field="x")
        axis = _X[x]
        between = [axis >= start] if start is not None else []
        between += [axis <= end] if end is not None else []
        wanted = check_run_ids(run_ids)
        with self._db.snapshot() as connection:
            numbers = select(runs.c.run_id, runs.c.id).where(runs.c.run_id.in_(wanted))
            known = dict(map(tuple, connection.execute(numbers)))
            return [
                _Points(run_id, axis, [metrics.c.run == known[run_id], metrics.c.key == key], between).curve(
                    connection, columns
                )
                for run_id in wanted
                if run_id in known
            ]


@dataclass(frozen=True)
class _Points:
    """The points of a metric of a run within a range.

    Attributes:
        run_id: the run.
        axis: the column of the table for the x axis.
        of_metric: the condition for the metric, by the beginning of the primary key.
        between: the condition for the range.
    """

    run_id: str
    axis: SqlColumn[Any]
    of_metric: Sequence[ColumnElement[bool]]
    between: Sequence[ColumnElement[bool]]

    def curve(self, connection: Connection, columns: int) -> Curve:
        """Return the points, in columns if there are many."""
        others = func.count().filter(not_(_FINITE))
        ends = self._chosen(select(func.count(), func.min(self.axis), func.max(self.axis), others))
        count, low, high, not_finite = tuple(connection.execute(ends).one())
        if count <= columns * _DRAWN:
            rows = connection.execute(self._chosen(select(self.axis, *_PLACE)).order_by(self.axis, *_PLACE))
            return Curve(self.run_id, count, points=tuple((x, _value(value, nan)) for x, _, _, value, nan in rows))
        number = self._number(low, high, columns)
        found = connection.execute(self._columns(number)).fetchall()
        excluded = connection.execute(self._not_finite(number)).fetchall() if not_finite else []
        return Curve(
            self.run_id,
            count,
            columns=tuple(starmap(_column, found)),
            not_finite=tuple((x, _value(value, nan), number_of) for x, value, nan, number_of in excluded),
        )

    def _chosen(
        self, statement: Select[*tuple[Any, ...]], *conditions: ColumnElement[bool]
    ) -> Select[*tuple[Any, ...]]:
        return statement.where(*self.of_metric, *self.between, *conditions)

    def _number(self, low: int, high: int, columns: int) -> ColumnElement[int]:
        """Return the number of the column of a point."""
        span = high - low + 1
        if span * columns < _INT64:
            return (self.axis - low) * columns // span
        # The difference of two numbers of 64 bits may have 65.
        width = min(-(-span // columns), _INT64 - 1)
        return (self.axis if span >= _INT64 else self.axis - low) // width

    def _columns(self, number: ColumnElement[int]) -> Select[Any]:
        """Return the statement for the columns, from left to right."""
        divided = (
            self._chosen(
                select(
                    number.label("number"),
                    func.min(self.axis).label("start"),
                    func.max(self.axis).label("end"),
                    func.count().label("count"),
                    func.min(metrics.c.value).label("minimum"),
                    func.max(metrics.c.value).label("maximum"),
                    func.sum(_SCALED).label("total"),
                ),
                _FINITE,
            )
            .group_by(number)
            .cte("divided")
        )
        column = divided.c
        if self.axis is metrics.c.timestamp:
            joined, first_time, last_time = select(), column.start, column.end
        else:
            # The primary key leads to a time, not to a step: one more pass finds the times of all ends.
            times = self._times(select(column.start).union(select(column.end)))
            first, last = times.alias("first"), times.alias("last")
            joined = select().select_from(
                divided.join(first, first.c.step == column.start).join(last, last.c.step == column.end)
            )
            first_time, last_time = first.c.first, last.c.last
        order = (metrics.c.step, metrics.c.value)
        at_first = self._value_at(column.start, first_time).order_by(*order)
        at_last = self._value_at(column.end, last_time).order_by(*(each.desc() for each in order))
        ends = [each.limit(1).correlate_except(metrics).scalar_subquery() for each in (at_first, at_last)]
        return joined.add_columns(
            column.start, column.end, column.count, ends[0], column.minimum, column.maximum, ends[1], column.total
        ).order_by(column.number)

    def _times(self, steps: CompoundSelect[Any]) -> CTE:
        """Return the times of the earliest and the latest point of each of some steps."""
        time = metrics.c.timestamp
        return (
            self._chosen(
                select(metrics.c.step, func.min(time).label("first"), func.max(time).label("last")),
                _FINITE,
                metrics.c.step.in_(steps),
            )
            .group_by(metrics.c.step)
            .cte("times")
        )

    def _value_at(self, x: ColumnElement[int], time: ColumnElement[int]) -> Select[Any]:
        return select(metrics.c.value).where(*self.of_metric, metrics.c.timestamp == time, self.axis == x, _FINITE)

    def _not_finite(self, number: ColumnElement[int]) -> Select[Any]:
        """Return the statement for points outside of columns: NaN and the infinities."""
        return (
            self._chosen(
                select(func.min(self.axis), metrics.c.value, metrics.c.is_nan, func.count()),
                not_(_FINITE),
            )
            .group_by(number, metrics.c.value, metrics.c.is_nan)
            .order_by(func.min(self.axis), metrics.c.value)
        )


def _column(
    start: int, end: int, count: int, first: float, minimum: float, maximum: float, last: float, total: float
) -> CurveColumn:
    mean = total / count / _SMALL
    return CurveColumn(start, end, count, first, minimum, maximum, last, min(max(mean, minimum), maximum))


def _value(value: float, is_nan: int) -> float:
    return float("nan") if is_nan else value
