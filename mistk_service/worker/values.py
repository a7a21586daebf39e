"""Values of a model's world (numpy, torch ...) as plain ones, without importing the libraries that they come from."""

from __future__ import annotations

import contextlib
from typing import Any

__all__ = ["int64", "json_ready", "number", "text"]


def json_ready(value: Any) -> Any:
    """Return a plain form of ``value``, for an encoder that does not know its type.

    Scalars and arrays of numpy and torch are known by their ``tolist``, paths and the like by ``__fspath__``.

    Raises:
        TypeError: there is none.
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
        TypeError: it is no number. Text is none, even where it reads like one.
    """
    if type(value) is float:
        return value
    if isinstance(value, str | bytes | bytearray) or value is None:
        raise TypeError(f"expected a number, got {type(value).__name__} {value!r}")
    if getattr(value, "size", 1) != 1 and not callable(getattr(value, "size", None)):
        raise TypeError(f"expected a number, got an array of {value.size} elements")
    item = getattr(value, "item", None)
    return float(item() if item is not None else value)


def int64(value: Any) -> int:
    """Return ``value`` as an integer of 64 bits.

    Raises:
        OverflowError: it has more.
        TypeError: it is no number.
    """
    integer = int(value)
    if not -(2**63) <= integer < 2**63:
        raise OverflowError(f"{integer} is beyond 64 bits")
    return integer


def text(value: Any) -> str:
    """Return ``value`` as text that can be encoded.

    Raises:
        UnicodeEncodeError: it holds a lone surrogate.
    """
    string = str(value)
    string.encode()
    return string
