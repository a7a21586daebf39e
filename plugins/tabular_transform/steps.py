"""The steps of a transform. Each is fitted to the first table, and then applied to all of them."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import polars as pl

from mistk_service import RequestError

__all__ = ["Deduplicate", "OneHot", "Scale", "Split", "Step", "Tables", "parsed_steps", "wire_of"]

#: The tables, by name; before a split there is one.
Tables = dict[str, pl.DataFrame]

#: Categories of a column that become columns.
_MAX_CATEGORIES = 1000

_Fraction = Annotated[float, msgspec.Meta(gt=0, le=1)]
_Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
_Columns = Annotated[list[str], msgspec.Meta(min_length=1)]


class Step(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A step with its settings. What a step was fitted with is in its fields too, so that it can be applied again."""

    is_fitted: ClassVar[bool] = False

    def fit(self, table: pl.DataFrame) -> None:
        """Take from a table what the step needs to know, unless it knows it already.

        Raises:
            ValueError: the table does not have what it needs.
        """

    def apply(self, tables: Tables) -> Tables:
        """Return the tables after the step.

        Raises:
            ValueError: a table does not have what the step needs.
        """
        raise NotImplementedError


class Deduplicate(Step):
    """Removes rows that repeat an earlier one.

    Attributes:
        columns: the columns to compare; by default, all of them.
    """

    columns: _Columns | None = None

    def apply(self, tables: Tables) -> Tables:
        """Keep the first of equal rows, in their order."""
        for table in tables.values():
            _require(table, self.columns or ())
        return {name: table.unique(self.columns, keep="first", maintain_order=True) for name, table in tables.items()}


class Split(Step):
    """Divides the rows at random.

    Attributes:
        fractions: the names of the parts, and their shares of the rows, which add up to 1.
        seed: equal seeds divide equal tables equally.
        stratify: the column whose values all parts have in the same proportions.
    """

    fractions: Annotated[dict[_Name, _Fraction], msgspec.Meta(min_length=2)]
    seed: int = 0
    stratify: str | None = None

    def apply(self, tables: Tables) -> Tables:
        """Replace the table by its parts. Rows keep their order."""
        if not math.isclose(sum(self.fractions.values()), 1, abs_tol=1e-6):
            raise ValueError(f"fractions: they add up to {sum(self.fractions.values()):g}; expected 1")
        if len(tables) > 1:
            raise ValueError("the data is split already; expected one split")
        (table,) = tables.values()
        _require(table, [self.stratify] if self.stratify else ())
        group = pl.col(self.stratify) if self.stratify else pl.lit(0)
        place = (pl.int_range(pl.len()).shuffle(self.seed).over(group) + 0.5) / pl.len().over(group)
        places = table.select(place).to_series()
        parts, low = {}, 0.0
        for name, fraction in self.fractions.items():
            parts[name] = table.filter((places >= low) & (places < low + fraction))
            low += fraction
        return parts


class Scale(Step):
    """Scales numbers: to mean 0 and standard deviation 1, or to the range from 0 to 1.

    Attributes:
        columns: the columns; by default, all of numbers.
        method: ``standard`` or ``minmax``.
        center: what is subtracted, by column; fitted.
        scale: what is divided by afterwards, by column; fitted.
    """

    is_fitted: ClassVar[bool] = True

    columns: _Columns | None = None
    method: Literal["standard", "minmax"] = "standard"
    center: dict[str, float] | None = None
    scale: dict[str, float] | None = None

    def fit(self, table: pl.DataFrame) -> None:
        """Take mean and standard deviation, or minimum and range. A column of equal values is divided by 1."""
        if self.center is not None and self.scale is not None:
            return
        numeric = [name for name, dtype in table.schema.items() if dtype.is_numeric()]
        self.columns = self.columns or numeric
        _require(table, self.columns)
        for name in self.columns:
            if name not in numeric:
                raise ValueError(f"columns: {name!r} is of the type {table.schema[name]}; expected numbers")
        values = pl.col(self.columns)
        is_standard = self.method == "standard"
        self.center = _row(table.select(values.mean() if is_standard else values.min()))
        self.scale = _row(table.select(values.std(ddof=0) if is_standard else values.max() - values.min()))

    def apply(self, tables: Tables) -> Tables:
        """Scale the columns of all tables."""
        assert self.center is not None
        assert self.scale is not None
        scaled = [(pl.col(name) - center) / (self.scale.get(name) or 1.0) for name, center in self.center.items()]
        for table in tables.values():
            _require(table, self.center)
        return {name: table.with_columns(scaled) for name, table in tables.items()}


class OneHot(Step):
    """Replaces columns by a column of zeros and ones for each of their values.

    Attributes:
        columns: the columns.
        categories: the values, by column; fitted. Other values become zeros.
    """

    is_fitted: ClassVar[bool] = True

    columns: _Columns
    categories: dict[str, list[str]] | None = None

    def fit(self, table: pl.DataFrame) -> None:
        """Take the values of the columns, sorted."""
        if self.categories is not None:
            return
        _require(table, self.columns)
        found = {name: table[name].drop_nulls().cast(pl.String).unique().sort() for name in self.columns}
        for name, values in found.items():
            if len(values) > _MAX_CATEGORIES:
                raise ValueError(f"columns: {name!r} has {len(values)} values; expected at most {_MAX_CATEGORIES}")
        self.categories = {name: values.to_list() for name, values in found.items()}

    def apply(self, tables: Tables) -> Tables:
        """Replace the columns in all tables."""
        categories = self.categories or {}
        added = [
            (pl.col(name).cast(pl.String) == value).fill_null(value=False).cast(pl.UInt8).alias(f"{name}_{value}")
            for name, values in categories.items()
            for value in values
        ]
        for table in tables.values():
            _require(table, self.columns)
            taken = set(table.columns) & {each.meta.output_name() for each in added}
            if taken:
                raise ValueError(f"columns: there is a column {min(taken)!r} already; expected new names")
        return {name: table.with_columns(added).drop(self.columns) for name, table in tables.items()}


_STEPS: dict[str, type[Step]] = {"deduplicate": Deduplicate, "split": Split, "scale": Scale, "one_hot": OneHot}


def parsed_steps(wire: Any, field: str) -> list[Step]:
    """Return the steps of a request: a list of objects with one key each, the name of the step.

    Raises:
        RequestError: there is no such step, or a setting is wrong; the message says which.
    """
    if not isinstance(wire, list) or not wire:
        raise RequestError(f'{field}: {wire!r:.80}; expected a list such as [{{"deduplicate": {{}}}}].', field=field)
    return [_parsed(each, f"{field}[{index}]") for index, each in enumerate(wire)]


def _parsed(wire: Any, field: str) -> Step:
    name = next(iter(wire)) if isinstance(wire, dict) and len(wire) == 1 else None
    if name not in _STEPS:
        known = ", ".join(_STEPS)
        raise RequestError(f"{field}: {wire!r:.80}; expected an object with one key, one of {known}.", field=field)
    try:
        return msgspec.convert(wire[name], _STEPS[name])
    except msgspec.ValidationError as error:
        raise RequestError(f"{field}.{name}: {error}.", field=f"{field}.{name}") from error


def wire_of(step: Step) -> dict[str, Any]:
    """Return a step as :func:`parsed_steps` takes it."""
    name = next(name for name, cls in _STEPS.items() if type(step) is cls)
    return {name: msgspec.to_builtins(step)}


def _require(table: pl.DataFrame, columns: Any) -> None:
    for name in columns:
        if name not in table.columns:
            raise ValueError(f"there is no column {name!r}; expected some of {', '.join(table.columns):.400}")


def _row(values: pl.DataFrame) -> dict[str, float]:
    row = values.row(0, named=True)
    for name, value in row.items():
        if value is None or not math.isfinite(value):
            raise ValueError(f"columns: {name!r} has no finite {'values' if value is None else 'mean or range'}")
    return {name: float(value) for name, value in row.items()}
