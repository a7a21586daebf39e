"""Checks hyperparameters against what the class declares, before anything changes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import msgspec

from mistk_service.errors import InvalidRequest

_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a text",
}

#: The bounds of a JSON Schema, in words.
_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "multipleOf": "a multiple of {}",
    "minLength": "{} or more characters",
    "maxLength": "{} or fewer characters",
    "minItems": "{} or more items",
    "maxItems": "{} or fewer items",
    "pattern": "of the form {}",
}


def checked(schema: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return hyperparameters that a class accepts, completed by its defaults.

    A number, a list or an object may also be a string of JSON, as forms and environment variables supply it.

    Args:
        schema: the JSON Schema, as JSON; None if the class declares nothing, so that everything is accepted.
        given: the values, by name.

    Raises:
        InvalidRequest: a name is unknown, a value is missing or not valid; the message names all of them.
    """
    if schema is None:
        return dict(given)
    declared = msgspec.json.decode(schema)
    properties: dict[str, Any] = declared["properties"]
    problems = [(name, _unknown(name, properties)) for name in given if name not in properties]
    values = {name: each["default"] for name, each in properties.items() if "default" in each}
    for name, each in properties.items():
        if name in given:
            values[name], problem = _value(given[name], each)
        else:
            problem = f"is missing; expected {expected(each)}" if name in declared["required"] else None
        if problem is not None:
            problems.append((name, problem))
    if problems:
        text = " ".join(f"hyperparameters.{name} {problem}." for name, problem in problems)
        raise InvalidRequest(text, field=f"hyperparameters.{problems[0][0]}")
    return values


def from_texts(schema: str | None, texts: Mapping[str, Any]) -> dict[str, Any]:
    """Return hyperparameters that a platform gives as texts of JSON. A class that declares a text gets it as it is.

    Args:
        schema: as for :func:`checked`.
        texts: the texts, by name.
    """
    properties = {} if schema is None else msgspec.json.decode(schema)["properties"]
    return {name: _from_text(text, properties.get(name, {})) for name, text in texts.items()}


def _from_text(text: Any, schema: Mapping[str, Any]) -> Any:
    value = _decoded(text)
    is_text = _value(value, schema)[1] is not None and _value(text, schema)[1] is None
    return text if is_text else value


def expected(schema: Mapping[str, Any]) -> str:
    """Describe the values that a JSON Schema accepts."""
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    if "anyOf" in schema:
        return " or ".join(expected(each) for each in schema["anyOf"])
    bounds = [words.format(schema[key]) for key, words in _BOUNDS.items() if key in schema]
    kind = _TYPES.get(schema.get("type", ""), "any value")
    return f"{kind}, {' and '.join(bounds)}" if bounds else kind


def _value(given: Any, schema: Mapping[str, Any]) -> tuple[Any, str | None]:
    """Return the decoded value, and a description of the problem with it, if any."""
    # Imported here, since the service loads it after it listens.
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(schema)
    for value in (given, _decoded(given)):
        if validator.is_valid(value):
            # JSON has one type of numbers, so 5.0 is a whole number too.
            return int(value) if schema.get("type") == "integer" else value, None
    return given, f"cannot be {given!r:.80}; expected {expected(schema)}"


def _decoded(given: Any) -> Any:
    try:
        return msgspec.json.decode(given) if isinstance(given, str) else given
    except (msgspec.DecodeError, RecursionError):
        return given


def _unknown(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"is not known; {hint}expected one of {', '.join(known)}"
