"""Converts values of a model's libraries (numpy, torch ...) to plain ones, without importing those libraries."""

from __future__ import annotations

import contextlib
import itertools
import logging
import numbers
import time
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)

#: A metric's name, value, step, and time in milliseconds since the epoch.
Point = tuple[str, float, int | None, int]

#: Whether ``float`` accepts the values of a type directly, by type. Checking each value takes longer than converting it.
_IS_REAL: dict[type, bool] = {float: True, int: True, bool: True}

#: The warnings that have been logged, so that each is logged once.
_WARNED: set[str] = set()

#: The maximum length of the name of a metric, a param or a tag, in characters. Tracking stores have lower limits.
LONGEST_NAME = 1_000

#: The maximum number of metric names in an error message.
_NAMED = 10

#: The maximum number of types to remember, since a program may create any number of them.
_TYPES_KNOWN = 100


def json_ready(value: Any) -> Any:
    """Return a plain form of ``value``, for an encoder that does not know its type.

    Scalars and arrays of numpy and torch are recognized by ``tolist``, paths and the like by ``__fspath__``.

    Raises:
        TypeError: the value has no plain form.
    """
    for method in ("tolist", "__fspath__"):
        convert = getattr(value, method, None)
        if convert is not None and not isinstance(value, type):
            with contextlib.suppress(TypeError, ValueError):
                return convert()
    raise TypeError(f"a value of type {type(value).__name__} cannot be expressed in JSON")


def number(value: Any) -> float:
    """Return ``value`` as a float: Python numbers, numpy and torch scalars, and arrays with a single element.

    Raises:
        TypeError: it is not a number. Text is never accepted, not even text such as ``"0.5"``.
    """
    kind = type(value)
    if _IS_REAL[kind] if kind in _IS_REAL else _is_real(kind):
        return float(value)
    if getattr(value, "size", 1) != 1 and not callable(getattr(value, "size", None)):
        raise TypeError(f"expected a number, got an array of {value.size} elements")
    item = getattr(value, "item", None)
    plain = value if item is None else item()
    if plain is None or isinstance(plain, str | bytes | bytearray):
        raise TypeError(f"expected a number, got {type(value).__name__} {value!r}")
    return float(plain)


def _is_real(kind: type) -> bool:
    """Return whether a type is registered as a real number, as numpy's scalars are, and remember the result."""
    real = issubclass(kind, numbers.Real)
    if len(_IS_REAL) < _TYPES_KNOWN:
        _IS_REAL[kind] = real
    return real


def points(values: Mapping[Any, Any], step: Any, timestamp: Any) -> list[Point]:
    """Return metric values as points. Log an error for each invalid value and keep the others.

    Every iteration of a training loop may come here, so valid values take a fast path.

    Args:
        values: name → number.
        step: an integer or None.
        timestamp: in milliseconds since the epoch; None for now.
    """
    try:
        step = None if step is None else _whole(step, "step")
        timestamp = time.time_ns() // 1_000_000 if timestamp is None else _whole(timestamp, "timestamp")
        return [
            (
                key if type(key) is str and key.isascii() and len(key) <= LONGEST_NAME else text(key),
                value if type(value) is float else number(value),
                step,
                timestamp,
            )
            for key, value in values.items()
        ]
    except Exception:  # noqa: BLE001 - values may raise anything; they are checked one by one below
        return _points_one_by_one(values, step, timestamp)


def _points_one_by_one(values: Mapping[Any, Any], step: Any, timestamp: Any) -> list[Point]:
    taken: list[Point] = []
    if not hasattr(values, "items"):
        logger.error("report_metrics: expected names and numbers as {'loss': 0.5}, got %s", type(values).__name__)
        return taken
    try:
        position = None if step is None else _whole(step, "step")
        when = time.time_ns() // 1_000_000 if timestamp is None else _whole(timestamp, "timestamp")
    except Exception as error:  # noqa: BLE001 - as above
        logger.error(
            "report_metrics: the report of %s was left out, because of the step %r or the timestamp %r: %s; expected whole "
            "numbers, or None",
            list(itertools.islice(values, _NAMED)), step, timestamp, error,
        )  # fmt: skip
        return taken
    for key, value in values.items():
        try:
            taken.append((text(key), number(value), position, when))
        except Exception as error:  # noqa: BLE001 - as above
            logger.error("report_metrics: the value of %r was left out: %s", shown(key), error)
    return taken


def _whole(value: Any, what: str) -> int:
    """Return a step or a timestamp as an integer. Warn once about a fraction, which tracking stores do not keep."""
    integer = int64(value)
    if integer != value and what not in _WARNED:
        _WARNED.add(what)
        unit = " of milliseconds since 1970, not of seconds" if what == "timestamp" else ""
        logger.warning(
            "report_metrics: the %s %r was taken as %d; expected a whole number%s. This is logged once.",
            what,
            value,
            integer,
            unit,
        )
    return integer


def int64(value: Any) -> int:
    """Return ``value`` as an integer of 64 bits.

    Raises:
        OverflowError: it has more than 64 bits.
        TypeError: it is not a number.
    """
    integer = value if type(value) is int else int(value)
    if not -(2**63) <= integer < 2**63:
        raise OverflowError(f"{integer} is beyond 64 bits")
    return integer


def text(value: Any) -> str:
    """Return ``value`` as text that can be encoded, as names must be.

    Raises:
        UnicodeEncodeError: it contains a lone surrogate.
        ValueError: it is longer than a name may be.
    """
    string = str(value)
    if len(string) > LONGEST_NAME:
        raise ValueError(f"its name has {len(string)} characters; expected at most {LONGEST_NAME}")
    string.encode()
    return string


def shown(name: Any) -> Any:
    """Return a name for an error message, shortened if it is very long."""
    return f"{name[:100]}..." if isinstance(name, str) and len(name) > 100 else name
