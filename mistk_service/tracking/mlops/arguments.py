"""Validation of arguments.

Every function raises ``InvalidParameter``, which names the argument, its value, and what is valid, or returns the value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mistk_service.tracking.errors import InvalidParameter
from mistk_service.tracking.values.limits import check_key, check_text

#: Prefixes of reserved keys, which a dataset's tags must not overwrite.
_RESERVED = ("mlflow.", "mlops.")


def checked_text(value: Any, field: str, limit: int | None = None) -> str:
    """Return ``value``, a non-blank string of at most ``limit`` characters."""
    if not isinstance(value, str):
        raise _wrong(field, value, "a string")
    if not value.strip():
        raise _wrong(field, value, "a string that is not blank")
    return check_text(value, field, limit)


def checked_id(value: Any, field: str) -> str:
    """Return the id of a project or an experiment, given as a string or as an integer."""
    return str(value) if type(value) is int else checked_text(value, field)


def optional_text(value: Any, field: str) -> str | None:
    """Return ``value``, a string or None; the empty string counts as None."""
    return None if value is None or value == "" else checked_text(value, field)


def checked_bool(value: Any, field: str) -> bool:
    """Return ``value``, which must be True or False."""
    if not isinstance(value, bool):
        raise _wrong(field, value, "True or False")
    return value


def checked_number(value: Any, field: str) -> float:
    """Return ``value`` as a float. Scalars of numpy and torch, which convert themselves, are numbers, too."""
    if not isinstance(value, str | bytes | bytearray):
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise _wrong(field, value, "a number") from error
    raise _wrong(field, value, "a number")


def checked_mapping(value: Any, field: str) -> Mapping[str, Any]:
    """Return ``value``, a mapping whose keys are strings."""
    if not isinstance(value, Mapping):
        raise _wrong(field, value, "a dictionary of names and values")
    for key in value:
        if not isinstance(key, str):
            raise _wrong(field, key, "a dictionary whose names are strings")
    return value


def checked_labels(value: Any, field: str) -> dict[str, str] | list[str] | str | None:
    """Return the tags of a dataset: a dictionary of strings, a list of strings, or one string; None if there are none."""
    if value is None or isinstance(value, str):
        return optional_text(value, field)
    if not isinstance(value, Mapping):
        if not isinstance(value, Iterable) or isinstance(value, bytes | bytearray):
            raise _wrong(field, value, "a dictionary of strings, a list of strings, or one string")
        return [checked_text(label, f"{field}[{i}]") for i, label in enumerate(value)] or None
    for key, text in checked_mapping(value, field).items():
        if key.startswith(_RESERVED):
            reserved = " or ".join(map(repr, _RESERVED))
            raise InvalidParameter(f"The key {key!r} in '{field}' must not start with {reserved}.", field=field)
        if not isinstance(text, str):
            raise _wrong(f"{field}[{key!r}]", text, "a string")
        check_key(key, field)
        check_text(text, f"{field}[{key!r}]")
    return dict(value) or None


def _wrong(field: str, value: Any, expected: str) -> InvalidParameter:
    shown = repr(value)
    shown = shown if len(shown) <= 100 else shown[:100] + "..."
    return InvalidParameter(
        f"The value {shown} ({type(value).__name__}) for '{field}' is not valid. It must be {expected}.", field=field
    )
