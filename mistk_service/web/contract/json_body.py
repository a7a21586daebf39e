"""Parses JSON bodies of requests, and checks them against a schema.

Parsing is stricter than Python's (no NaN, no invalid UTF-8), since the values are passed on to the worker.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jsonschema import Draft4Validator, ValidationError
from jsonschema.validators import extend

from mistk_service.web.json_limits import FREE_JSON, JsonLimits, check_json

#: Keywords of a schema that do not restrict values.
_ANNOTATIONS = frozenset({"description", "example", "title"})


def parse_json(body: bytes | bytearray, limits: JsonLimits = FREE_JSON) -> Any:
    """Return the value of a JSON document, and refuse what is not JSON although Python's own reader accepts it.

    Connexion reads the body a second time for the handler, with Python's reader, so both must read the same value.

    Raises:
        JsonTooLarge: it exceeds the limits.
        ValueError: it is not JSON, repeats a key, or contains a value that cannot be passed on to the worker: a number
            beyond 64 bits, or half a surrogate pair; the message names it.
        RecursionError: it is nested too deeply.
    """
    check_json(body, limits)
    text = body.decode("utf-8")
    try:
        value = _DECODER.decode(text)
        if not _fits(value):
            value = _CAREFUL.decode(text)
    except ValueError:
        value = _CAREFUL.decode(text)  # has better messages
    if _SURROGATE.search(text):
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _fits(value: Any) -> bool:
    """Return whether every number has at most 64 bits, in one pass without parsing numbers.

    Raises:
        RecursionError: arrays and objects are nested too deeply.
    """
    level = [value]
    for _ in range(_DEEPEST + 1):
        types = set(map(type, level))
        if int in types:
            integers = [each for each in level if type(each) is int]
            if not (min(integers) >= _LEAST and max(integers) <= _MOST):
                return False
        if float in types and math.inf in map(abs, (each for each in level if type(each) is float)):
            return False
        if types.isdisjoint(_BOXES):
            return True
        boxes = (each for each in level if type(each) in _BOXES)
        level = [each for box in boxes for each in (box.values() if type(box) is dict else box)]
    raise RecursionError


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = counts.most_common(1)[0][0]
        raise ValueError(f"the key {twice!r:.80} appears twice in one object")
    return value


def _integer(digits: str) -> int:
    if len(digits) > 20 or not _LEAST <= int(digits) <= _MOST:
        raise ValueError(f"the integer {digits:.80} has more than 64 bits; write it as a string")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"the number {digits:.80} is too large")
    return value


def _constant(name: str) -> float:
    raise ValueError(f"{name} is not a number in JSON; leave it out, or write null or a string")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)

#: Checks the text of every number, which takes ten times as long, to name the one that is too large.
_CAREFUL = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant
)

_BOXES = frozenset({dict, list})

#: The integers that MessagePack can carry to the worker.
_LEAST, _MOST = -(2**63), 2**64 - 1

#: An escaped surrogate; only then can a text contain half a pair.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

#: How deeply arrays and objects may be nested. Python's reader and writers fail at a depth that depends on the caller's stack,
#: and the value is read and written again elsewhere.
_DEEPEST = 100


def why_unreadable(error: Exception) -> str:
    """Return what is wrong with a body, by the error that :func:`parse_json` raised."""
    if isinstance(error, RecursionError):
        return f"it is nested too deeply; at most {_DEEPEST} levels of arrays and objects are allowed"
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 (byte {error.start}: {error.reason})"
    if isinstance(error, UnicodeEncodeError):
        return "it holds half a surrogate pair, which is not Unicode text"
    return str(error)


def accepting_reader(schema: Mapping[str, Any], limits: JsonLimits) -> Callable[[bytes | bytearray], Any]:
    """Return a function that reads a body which the schema accepts, and raises ValueError or RecursionError for any other.

    The errors carry no explanation; the validator of bodies gives it.
    """
    is_valid = schema_validator(schema).is_valid

    def read(body: bytes | bytearray) -> Any:
        value = parse_json(body, limits)
        if not is_valid(value):
            raise ValueError
        return value

    return read


def _unless_null(check: Any) -> Any:
    """Return a keyword's check that accepts null where the schema says ``x-nullable``."""

    def check_unless_null(
        validator: Any, rule: Any, value: Any, schema: Mapping[str, Any]
    ) -> Iterator[ValidationError]:
        if value is not None or schema.get("x-nullable") is not True:
            yield from check(validator, rule, value, schema)

    return check_unless_null


#: The first draft that Swagger 2.0 refers to, with ``x-nullable``.
_Validator = extend(  # type: ignore[no-untyped-call]
    Draft4Validator, {name: _unless_null(Draft4Validator.VALIDATORS[name]) for name in ("type", "enum")}
)


def schema_validator(schema: Mapping[str, Any]) -> Any:
    """Return the validator of jsonschema for a schema."""
    return _Validator(schema, format_checker=Draft4Validator.FORMAT_CHECKER)


def asks_for_strings(schema: Mapping[str, Any]) -> bool:
    """Return whether a schema asks for an object of strings with any names, without further restrictions."""
    rules = {key: rule for key, rule in schema.items() if key not in _ANNOTATIONS | {"definitions", "minProperties"}}
    return rules == {"type": "object", "additionalProperties": {"type": "string"}}
