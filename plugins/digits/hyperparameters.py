"""The hyperparameters of a training: their names, their bounds, and messages for invalid values."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from .errors import BadHyperparameters

__all__ = ["Hyperparameters"]


@dataclass(frozen=True)
class Hyperparameters:
    """The hyperparameters of a training.

    Attributes:
        epochs: passes over the training set in one training.
        learning_rate: the factor of the gradient in a step.
        batch_size: images in a step.
        hidden: units of the hidden layer.
        momentum: how much of the previous step goes into the next one.
        l2: the factor of the squared weights in the loss.
        dropout: the share of hidden units that is left out at random in a step.
        seed: of the first weights, the order of the images and the dropout.
    """

    epochs: int = 60
    learning_rate: float = 0.05
    batch_size: int = 32
    hidden: int = 128
    momentum: float = 0.9
    l2: float = 1e-4
    dropout: float = 0.2
    seed: int = 0

    def updated(self, given: Mapping[str, Any]) -> Hyperparameters:
        """Return a copy with the values of ``given``.

        Numbers may be text, as from forms and environment variables.

        Raises:
            BadHyperparameters: names are unknown or values are out of bounds; the message lists all of them.
        """
        values: dict[str, int | float] = {}
        problems: list[str] = []
        for name, value in given.items():
            try:
                values[name] = _checked(name, value)
            except ValueError as problem:
                problems.append(str(problem))
        if problems:
            raise BadHyperparameters("; ".join(problems) + ".")
        return replace(self, **values)  # type: ignore[arg-type]  # _checked returns integers for integer fields

    def to_dict(self) -> dict[str, int | float]:
        """Return the values by name."""
        return asdict(self)


@dataclass(frozen=True)
class _Bounds:
    """The values that a hyperparameter can have: from ``low``, or above it, up to ``high``, or below it."""

    low: float
    high: float
    whole: bool = False
    above: bool = False
    below: bool = False

    def contain(self, value: float) -> bool:
        over = value > self.low if self.above else value >= self.low
        under = value < self.high if self.below else value <= self.high
        return over and under and (not self.whole or float(value).is_integer())

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        over = f"above {self.low:g}" if self.above else f"of at least {self.low:g}"
        under = f"below {self.high:g}" if self.below else f"at most {self.high:g}"
        return f"{kind} {over} and {under}"


_BOUNDS = {
    "epochs": _Bounds(1, 1_000_000, whole=True),
    "learning_rate": _Bounds(0, 100, above=True),
    "batch_size": _Bounds(1, 1_000_000, whole=True),
    "hidden": _Bounds(1, 4096, whole=True),
    "momentum": _Bounds(0, 1, below=True),
    "l2": _Bounds(0, 10),
    "dropout": _Bounds(0, 1, below=True),
    "seed": _Bounds(0, 2**53, whole=True),
}


def _checked(name: str, value: Any) -> int | float:
    if name not in _BOUNDS:
        near = difflib.get_close_matches(str(name), _BOUNDS, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"{name!r} is not a hyperparameter of this model{hint}; it has {', '.join(_BOUNDS)}")
    bounds = _BOUNDS[name]
    number = _number(value)
    if number is None or not bounds.contain(number):
        raise ValueError(f"{name} must be {bounds}, not {value!r}")
    return int(number) if bounds.whole else float(number)


def _number(value: Any) -> int | float | None:
    """Return ``value`` as a finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(number):
        return None
    return value if isinstance(value, int) else number
