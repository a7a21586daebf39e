"""Parsed filters and orders."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

#: The operand of a comparison: a string, a number, several strings, or nothing.
Value = str | int | float | tuple[str, ...] | tuple[int, ...] | None


class Entity(StrEnum):
    """The kind of thing that a key belongs to; the values are the prefixes that messages suggest."""

    ATTRIBUTE = "attributes"
    METRIC = "metrics"
    PARAM = "params"
    TAG = "tags"
    DATASET = "datasets"


class Comparator(StrEnum):
    """How a key is compared; the values are how filters spell it."""

    EQ = "="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    LIKE = "LIKE"
    ILIKE = "ILIKE"
    IN = "IN"
    NOT_IN = "NOT IN"
    IS_NULL = "IS NULL"
    IS_NOT_NULL = "IS NOT NULL"


#: The comparators that Python has too, also for columns of SQLAlchemy.
OPERATORS: dict[Comparator, Callable[[Any, Any], Any]] = {
    Comparator.EQ: operator.eq,
    Comparator.NE: operator.ne,
    Comparator.LT: operator.lt,
    Comparator.LE: operator.le,
    Comparator.GT: operator.gt,
    Comparator.GE: operator.ge,
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One condition.

    Attributes:
        entity: the kind of the key.
        key: the key; for attributes its canonical name.
        comparator: how it is compared.
        value: the operand; None for IS NULL and IS NOT NULL.
    """

    entity: Entity
    key: str
    comparator: Comparator
    value: Value = None


@dataclass(frozen=True, slots=True)
class Order:
    """One key that results are ordered by.

    Attributes:
        entity: the kind of the key.
        key: the key; for attributes its canonical name.
        ascending: smallest first; items without the key come last either way.
    """

    entity: Entity
    key: str
    ascending: bool = True
