"""Translates conditions and orders to SQL. Values from a filter are bound, never part of the text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Dialect,
    FromClause,
    Table,
    and_,
    case,
    false,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    text,
)
from sqlalchemy.sql import Select

from mistk_service.tracking.filters import OPERATORS, Comparator, Comparison, Entity, Order
from mistk_service.tracking.sql.search import page_tokens
from mistk_service.tracking.sql.search.page_tokens import SortValue
from mistk_service.tracking.sql.tables import VALUE_HEAD, head

_C = Comparator

#: Returns a condition on a table of metrics.
Narrow = Callable[[FromClause], ColumnElement[bool]]


@dataclass(frozen=True)
class Keyed:
    """A table of keys and values of the searched rows.

    Attributes:
        table: has the columns ``key`` and ``value``, and ``is_nan`` if the values are numbers.
        link: the pairs (column of this table, column of the searched table) that join the tables.
        newest: the columns that several values of a key are ordered by to find the newest, which is used for an order, each
            with whether it is descending; empty if a row has at most one value.
    """

    table: Table
    link: Sequence[tuple[str, Column[Any]]]
    newest: Sequence[tuple[str, bool]] = ()

    @property
    def unique(self) -> bool:
        """Whether a row has at most one value of each key."""
        return not self.newest


@dataclass(frozen=True)
class Searchable:
    """The tables of one kind of search.

    Attributes:
        name: distinguishes its page tokens from those of other searches.
        table: the rows that are searched.
        attributes: the column of each attribute, by its canonical name in filters.
        order_columns: the columns of attributes whose order uses another column than filters.
        headed: columns whose index only has the first characters of the value.
        keyed: the tables of metrics, params and tags.
        datasets: returns the numbers of the rows whose datasets match a condition; None if rows have no datasets.
        default: the default order: attributes, each with whether it is ascending.
        appended: the attributes that are appended to a requested order, if they are not those of the default order.
    """

    name: str
    table: Table
    attributes: Mapping[str, ColumnElement[Any]]
    default: Sequence[tuple[str, bool]]
    appended: Sequence[tuple[str, bool]] = ()
    order_columns: Mapping[str, ColumnElement[Any]] = field(default_factory=dict)
    headed: frozenset[str] = frozenset()
    keyed: Mapping[Entity, Keyed] = field(default_factory=dict)
    datasets: Callable[[str, Callable[[ColumnElement[Any]], ColumnElement[bool]]], ColumnElement[bool]] | None = None


@dataclass(frozen=True)
class SortKey:
    """One expression that rows are sorted by; it is never NULL.

    Attributes:
        expression: the expression.
        ascending: smallest first.
        kind: the type of its values in a page token.
    """

    expression: ColumnElement[Any]
    ascending: bool
    kind: type


class Query:
    """Builds a search for one database: joins, conditions and sort keys."""

    def __init__(self, searchable: Searchable, dialect: Dialect) -> None:
        self._what = searchable
        self._sqlite = dialect.name == "sqlite"
        self._from: FromClause = searchable.table
        self._where: list[ColumnElement[bool]] = []
        self._keys: list[SortKey] = []
        self._order_name = searchable.name
        self._aliases = 0

    def where(self, *conditions: ColumnElement[bool]) -> None:
        """Add conditions that do not come from a filter."""
        self._where.extend(conditions)

    def filter(self, comparisons: Sequence[Comparison], narrow: Narrow | None = None) -> None:
        """Add the conditions of a filter.

        Args:
            comparisons: the conditions, which must all hold.
            narrow: a further condition on the metrics in conditions.
        """
        for comparison in comparisons:
            if comparison.entity is Entity.ATTRIBUTE:
                column = self._what.attributes[comparison.key]
                self._where.append(self._compare(comparison, column, headed=comparison.key in self._what.headed))
            elif comparison.entity is Entity.DATASET:
                self._filter_datasets(comparison)
            else:
                self._filter_keyed(comparison, narrow if comparison.entity is Entity.METRIC else None)

    def order(self, orders: Sequence[Order]) -> None:
        """Add an order, completed so that it is total."""
        for order in orders:
            self.sort_by(order)
        self.complete_order(orders)

    def sort_by(self, order: Order, narrow: Narrow | None = None, narrowed_to: str = "") -> None:
        """Add one key of an order.

        Args:
            order: the key.
            narrow: a further condition on its metric.
            narrowed_to: the same for the page token's digest.
        """
        name = f"{order.entity}.{order.key}{narrowed_to}"
        if order.entity is not Entity.ATTRIBUTE:
            self._sort_by_keyed(order, name, narrow)
            return
        column = self._what.order_columns.get(order.key, self._what.attributes[order.key])
        kind = int if column.type.python_type is int else str
        if getattr(column, "nullable", False):
            self._add_key(SortKey(case((column.is_(None), 1), else_=0), ascending=True, kind=int), name + " rank")
            column = func.coalesce(column, 0 if kind is int else "")
        self._add_key(SortKey(column, order.ascending, kind), name)

    def complete_order(self, orders: Sequence[Order]) -> None:
        """Add further keys to all those of an order, so that it is total."""
        there = {order.key for order in orders if order.entity is Entity.ATTRIBUTE}
        for name, ascending in (orders and self._what.appended) or self._what.default:
            if name not in there:
                self.sort_by(Order(Entity.ATTRIBUTE, name, ascending))

    def statement(self, columns: Sequence[ColumnElement[Any]], limit: int, page_token: str | None) -> Select[Any]:
        """Return the search: the columns, then the sort keys, of one row more than ``limit``."""
        labelled = [key.expression.label(f"sort_{i}") for i, key in enumerate(self._keys)]
        statement = select(*columns, *labelled).select_from(self._from).where(*self._where)
        if page_token:
            values = page_tokens.decode(page_token, self._order_name, [key.kind for key in self._keys])
            statement = statement.where(after(self._keys, values))
        directions = [k.expression.asc() if k.ascending else k.expression.desc() for k in self._keys]
        return statement.order_by(*directions).limit(limit + 1)

    def next_token(self, rows: Sequence[Any], limit: int) -> str | None:
        """Return the token for the page after these rows, or None if there is none."""
        if len(rows) <= limit:
            return None
        values = list(rows[limit - 1][-len(self._keys) :])
        return page_tokens.encode(self._order_name, [k.kind(v) for k, v in zip(self._keys, values, strict=True)])

    def _filter_datasets(self, comparison: Comparison) -> None:
        if self._what.datasets is not None:
            self._where.append(self._what.datasets(comparison.key, lambda column: self._compare(comparison, column)))

    def _filter_keyed(self, comparison: Comparison, narrow: Narrow | None) -> None:
        keyed = self._what.keyed[comparison.entity]
        alias = self._alias(keyed)
        linked = and_(*self._links(keyed, alias), alias.c.key == comparison.key)
        if comparison.comparator is Comparator.IS_NULL:
            self._where.append(not_(select(literal(1)).select_from(alias).where(linked).exists()))
            return
        conditions = [linked]
        if comparison.comparator is not Comparator.IS_NOT_NULL:
            conditions.append(
                self._compare_metric(comparison, alias)
                if comparison.entity is Entity.METRIC
                else self._compare(comparison, alias.c.value, headed=True)
            )
        if narrow is not None:
            conditions.append(narrow(alias))
        if keyed.unique:
            # At most one row matches, so a join is the condition; the database may begin with it or with the runs.
            self._from = self._from.join(alias, and_(*conditions))
        else:
            self._where.append(select(literal(1)).select_from(alias).where(*conditions).exists())

    def _compare_metric(self, comparison: Comparison, alias: FromClause) -> ColumnElement[bool]:
        compared = _numeric(comparison, alias.c.value)
        if comparison.comparator is Comparator.NE:
            return or_(alias.c.is_nan == 1, compared)
        return and_(alias.c.is_nan == 0, compared)

    def _compare(
        self, comparison: Comparison, column: ColumnElement[Any], *, headed: bool = False
    ) -> ColumnElement[bool]:
        value, comparator = comparison.value, comparison.comparator
        if comparator in (_C.LIKE, _C.ILIKE):
            return self._like(column, str(value), comparator is _C.ILIKE)
        if comparator in (_C.IN, _C.NOT_IN):
            listed = list(value) if isinstance(value, tuple) else [value]
            return column.in_(listed) if comparator is _C.IN else column.not_in(listed)
        if not isinstance(value, str):
            return _numeric(comparison, column)
        if comparator is _C.NE:
            return column != value
        if not headed:
            return column == value
        # An expression of the column, because SQLite would put the value for a bare column into the condition on the
        # head as well, and then no longer see that the index fits it.
        return and_(head(column) == value[:VALUE_HEAD], column.concat(text("''")) == value)

    def _like(self, column: ColumnElement[Any], pattern: Any, ignore_case: bool) -> ColumnElement[bool]:
        if self._sqlite:
            # A connection's LIKE is case-sensitive, and has no escape character.
            if ignore_case:
                column, pattern = func.lower_unicode(column), func.lower_unicode(literal(pattern))
            return column.like(pattern)
        # PostgreSQL takes a backslash for an escape.
        escaped = pattern.replace("\\", "\\\\")
        return column.ilike(escaped) if ignore_case else column.like(escaped)

    def _add_key(self, key: SortKey, name: str) -> None:
        self._keys.append(key)
        self._order_name += f"|{name} {key.ascending}"

    def _sort_by_keyed(self, order: Order, name: str, narrow: Narrow | None) -> None:
        """Add the sort keys for a metric, param or tag: rows without it come last, after NaN."""
        value, is_nan = self._value_of(self._what.keyed[order.entity], order.key, narrow)
        numeric = order.entity is Entity.METRIC
        absent = value.is_(None)
        rank = case((absent, 2), (is_nan == 1, 1), else_=0) if numeric else case((absent, 1), else_=0)
        self._add_key(SortKey(rank, ascending=True, kind=int), name + " rank")
        known = func.coalesce(value, 0.0 if numeric else "")
        self._add_key(SortKey(known, order.ascending, float if numeric else str), name)

    def _value_of(self, keyed: Keyed, key: str, narrow: Narrow | None) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
        """Return the value of a row for a key, NULL if it has none, and whether it is NaN."""
        alias = self._alias(keyed)
        is_nan = alias.c.is_nan if "is_nan" in alias.c else null()
        linked = [*self._links(keyed, alias), alias.c.key == key]
        if keyed.unique:
            self._from = self._from.outerjoin(alias, and_(*linked))
            return alias.c.value, is_nan
        if narrow is not None:
            linked.append(narrow(alias))
        newest = [alias.c[name].desc() if descending else alias.c[name] for name, descending in keyed.newest]
        value, nan = (
            select(column).where(*linked).order_by(*newest).limit(1).correlate(self._what.table).scalar_subquery()
            for column in (alias.c.value, is_nan)
        )
        return value, nan

    def _alias(self, keyed: Keyed) -> FromClause:
        self._aliases += 1
        return keyed.table.alias(f"k{self._aliases}")

    @staticmethod
    def _links(keyed: Keyed, alias: FromClause) -> list[ColumnElement[bool]]:
        return [alias.c[mine] == theirs for mine, theirs in keyed.link]


def _numeric(comparison: Comparison, column: ColumnElement[Any]) -> ColumnElement[bool]:
    condition: ColumnElement[bool] = OPERATORS[comparison.comparator](column, comparison.value)
    return condition


def after(keys: Sequence[SortKey], values: Sequence[SortValue | ColumnElement[Any]]) -> ColumnElement[bool]:
    """Return the condition that a row comes after the one with these values.

    For keys a, b: ``a >= x AND (a > x OR (b > y))``, which lets an index on (a, b) find the place, as the plain
    ``a > x OR (a = x AND b > y)`` does not.
    """
    if not keys:
        return false()
    key, value = keys[0], values[0]
    column = key.expression
    strictly, at_least = (column > value, column >= value) if key.ascending else (column < value, column <= value)
    if len(keys) == 1:
        return strictly
    return and_(at_least, or_(strictly, after(keys[1:], values[1:])))
