"""Tables in CSV files: numbers as features, and one column to predict."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mistk_service import RequestError

__all__ = ["Table", "read_table"]


@dataclass(frozen=True, eq=False)
class Table:
    """Features, and what is to be predicted from them.

    Attributes:
        ids: the column ``id``, or the numbers of the rows from 0.
        features: shape (rows, columns).
        target: the column to predict; None if the file does not have it.
    """

    ids: tuple[str, ...]
    features: NDArray[np.float64]
    target: NDArray[Any] | None


def read_table(path: str, target: str) -> Table:
    """Read a CSV file with a header.

    Args:
        path: the file.
        target: the name of the column to predict.

    Raises:
        RequestError: the file cannot be read, or a feature is not a number; the message names the row.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"{path} cannot be read: {error}.") from error
    if not rows:
        raise RequestError(f"{path} has no rows below a header.")
    names = [name for name in rows[0] if name not in ("id", target)]
    features = np.array([_numbers(row, names, f"{path}, row {number}") for number, row in enumerate(rows, 1)])
    ids = tuple(row.get("id") or str(number) for number, row in enumerate(rows))
    return Table(ids, features, _typed([row[target] for row in rows]) if target in rows[0] else None)


def _numbers(row: dict[str, str], names: list[str], where: str) -> list[float]:
    values = []
    for name in names:
        try:
            values.append(float(row[name]))
        except (TypeError, ValueError):
            raise RequestError(f"{where}: {name} is {row[name]!r}; expected a number.") from None
    return values


def _typed(values: list[str]) -> NDArray[Any]:
    """Return integers if all values are such, else numbers, else texts."""
    for kind in (int, float):
        try:
            return np.array([kind(value) for value in values])
        except ValueError:
            continue
    return np.array(values)
