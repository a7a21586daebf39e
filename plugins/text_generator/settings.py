"""The settings of this model: how it counts (hyperparameters) and how it writes (properties), with their bounds."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from .errors import BadSetting
from .ngrams import MAX_ORDER

__all__ = ["CountSettings", "WriteSettings", "split"]


@dataclass(frozen=True)
class CountSettings:
    """The hyperparameters of a training.

    Attributes:
        order: the length of the longest n-grams: a character is predicted from the ``order - 1`` characters before it.
        discount: the amount subtracted from every count, for characters that were not seen in a context.
        held_out: the fraction of the text, at its end, that is used for evaluation if there is no dataset ``test``.
        chunk: characters that are read between two pause points and two reports.
    """

    order: int = 6
    discount: float = 0.8
    held_out: float = 0.1
    chunk: int = 8192

    def updated(self, given: Mapping[str, Any]) -> CountSettings:
        """Return a copy with the values of ``given``.

        Raises:
            BadSetting: a name is unknown or a value out of bounds.
        """
        return replace(self, **_checked(given, self.to_dict()))

    def to_dict(self) -> dict[str, Any]:
        """Return the values by name."""
        return asdict(self)


@dataclass(frozen=True)
class WriteSettings:
    """The properties of generations.

    Attributes:
        temperature: 1 follows the counts, lower values prefer likely characters, 0 always takes the likeliest one.
        length: characters to write.
        prompt: the default beginning of a text.
        samples: the number of texts for each prompt.
        seed: of the choices; the same seed and prompt give the same text.
    """

    temperature: float = 0.8
    length: int = 400
    prompt: str = "Alice "
    samples: int = 3
    seed: int = 0

    def updated(self, given: Mapping[str, Any]) -> WriteSettings:
        """Return a copy with the values of ``given``.

        Raises:
            BadSetting: a name is unknown or a value out of bounds.
        """
        return replace(self, **_checked(given, self.to_dict()))

    def to_dict(self) -> dict[str, Any]:
        """Return the values by name."""
        return asdict(self)


def split(hparams: Mapping[str, Any], props: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings for counting and those for writing.

    The settings for writing are properties or hyperparameters; a property takes precedence.

    Raises:
        BadSetting: a name is neither.
    """
    writing = WriteSettings().to_dict()
    count = {name: value for name, value in hparams.items() if name not in writing}
    _checked(count, [*CountSettings().to_dict(), *writing])
    return count, {name: value for name, value in hparams.items() if name in writing} | dict(props)


@dataclass(frozen=True)
class _Bounds:
    """The numbers that a setting can be: from ``low`` to ``high``, both excluded if it is ``inside``."""

    low: float
    high: float
    whole: bool = False
    inside: bool = False

    def contain(self, value: float) -> bool:
        within = self.low < value < self.high if self.inside else self.low <= value <= self.high
        return within and (not self.whole or float(value).is_integer())

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        return (
            f"{kind} {'between' if self.inside else 'from'} {self.low:g} {'and' if self.inside else 'to'} {self.high:g}"
        )


_BOUNDS = {
    "order": _Bounds(1, MAX_ORDER, whole=True),
    "discount": _Bounds(0, 1, inside=True),
    "held_out": _Bounds(0, 0.9),
    "chunk": _Bounds(1, 100_000_000, whole=True),
    "temperature": _Bounds(0, 10),
    "length": _Bounds(1, 1_000_000, whole=True),
    "samples": _Bounds(1, 10_000, whole=True),
    "seed": _Bounds(0, 2**53, whole=True),
}


def _checked(given: Mapping[str, Any], known: Mapping[str, Any] | list[str]) -> dict[str, Any]:
    """Return ``given`` with its numbers as such, or raise BadSetting with all problems."""
    values: dict[str, Any] = {}
    problems = []
    for name, value in given.items():
        if name not in known:
            near = difflib.get_close_matches(str(name), list(known), n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            problems.append(f"{name!r} is not a setting here{hint}; expected one of {', '.join(known)}")
        elif name in _BOUNDS:
            number = _number(value)
            if number is None or not _BOUNDS[name].contain(number):
                problems.append(f"{name} must be {_BOUNDS[name]}, not {value!r}")
            else:
                values[name] = int(number) if _BOUNDS[name].whole else float(number)
        elif not isinstance(value, str):
            problems.append(f"{name} must be a text, not {value!r}")
        else:
            values[name] = value
    if problems:
        raise BadSetting("; ".join(problems) + ".")
    return values


def _number(value: Any) -> int | float | None:
    """Return ``value``, which may be text, as a finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(number):
        return None
    return value if isinstance(value, int) else number
