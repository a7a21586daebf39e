"""Checks of what callers give: every refusal names the argument, what it was, and what was expected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mistk_service.tracking.errors import InvalidParameter
from mistk_service.tracking.values.limits import check_key, check_text

__all__ = [
    "checked_bool",
    "checked_id",
    "checked_labels",
    "checked_mapping",
    "checked_number",
    "checked_text",
    "optional_text",
]

#: Keys with a meaning of their own, which a dataset's tags must not overwrite.
_RESERVED = ("mlflow.", "mlops.")


def checked_text(value: Any, field: str, limit: int | None = None) -> str:
    """Return ``value``, a text that is not blank and has at most ``limit`` characters.

    Raises:
        InvalidParameter: it is something else.
    """
    if not isinstance(value, str):
        raise _wrong(field, value, "a text")
    if not value.strip():
        raise _wrong(field, value, "a text that is not blank")
    return check_text(value, field, limit)


def checked_id(value: Any, field: str) -> str:
    """Return the id of a project or an experiment, given as text or as a whole number.

    Raises:
        InvalidParameter: it is something else.
    """
    return str(value) if type(value) is int else checked_text(value, field)


def optional_text(value: Any, field: str, limit: int | None = None) -> str | None:
    """Return ``value``, a text or None; the empty text counts as None.

    Raises:
        InvalidParameter: it is something else.
    """
    return None if value is None or value == "" else checked_text(value, field, limit)


def checked_bool(value: Any, field: str) -> bool:
    """Return ``value``, which must be True or False.

    Raises:
        InvalidParameter: it is something else.
    """
    if not isinstance(value, bool):
        raise _wrong(field, value, "True or False")
    return value


def checked_number(value: Any, field: str) -> float:
    """Return ``value`` as a float; whatever converts itself is a number, such as a scalar of numpy or torch.

    Raises:
        InvalidParameter: it does not, or is too large for a float.
    """
    if not isinstance(value, str | bytes | bytearray):
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise _wrong(field, value, "a number") from error
    raise _wrong(field, value, "a number")


def checked_mapping(value: Any, field: str) -> Mapping[str, Any]:
    """Return ``value``, a mapping whose keys are texts.

    Raises:
        InvalidParameter: it is something else.
    """
    if not isinstance(value, Mapping):
        raise _wrong(field, value, "a dictionary of names and values")
    for key in value:
        if not isinstance(key, str):
            raise _wrong(field, key, "names that are texts")
    return value


def checked_labels(value: Any, field: str) -> dict[str, str] | list[str] | str | None:
    """Return the tags of a dataset: a dictionary of texts, a list of texts, or a single text; None where there are none.

    Raises:
        InvalidParameter: they are something else, or a key belongs to MLflow or to this module.
    """
    if value is None or isinstance(value, str):
        return optional_text(value, field)
    if not isinstance(value, Mapping):
        if not isinstance(value, Iterable) or isinstance(value, bytes | bytearray):
            raise _wrong(field, value, "a dictionary of texts, a list of texts, or one text")
        return [checked_text(label, f"{field}[{i}]") for i, label in enumerate(value)] or None
    for key, text in checked_mapping(value, field).items():
        if key.startswith(_RESERVED):
            raise _wrong(field, key, f"keys that do not start with {' or '.join(map(repr, _RESERVED))}")
        if not isinstance(text, str):
            raise _wrong(f"{field}[{key!r}]", text, "a text")
        check_key(key, field)
        check_text(text, f"{field}[{key!r}]")
    return dict(value) or None


def _wrong(field: str, value: Any, expected: str) -> InvalidParameter:
    shown = repr(value)
    shown = shown if len(shown) <= 100 else shown[:100] + "..."
    return InvalidParameter(
        f"Invalid value {shown} ({type(value).__name__}) for '{field}': expected {expected}.", field=field
    )
