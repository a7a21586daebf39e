"""Validation of requests against a contract, with messages that say where, what is wrong, and what is expected.

These classes replace, through Connexion's ``validator_map``, how a body is parsed and how an error is worded. Parsing is
stricter than Python's (no NaN, no invalid UTF-8), since the values are passed on to the worker.
"""

from __future__ import annotations

import asyncio
import copy
import json
import math
import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from connexion.exceptions import BadRequestProblem, ProblemException
from connexion.json_schema import Draft4RequestValidator
from connexion.validators import AbstractRequestBodyValidator, ParameterValidator
from jsonschema import Draft4Validator, ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.web.contract.compiled import INLINE_LIMIT
from mistk_service.web.contract.records import read_records
from mistk_service.web.json_limits import FREE_JSON, JsonLimits, check_json

#: How much of a wrong value is repeated in a message.
_SHOWN = 80

#: Keywords of a schema that do not restrict values.
_ANNOTATIONS = frozenset({"description", "example", "title"})

_TYPES = {
    "array": "an array",
    "boolean": "true or false",
    "integer": "an integer",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}


def _parse(body: bytes | bytearray, limits: JsonLimits = FREE_JSON) -> Any:
    """Return the value of a JSON document, and refuse what is not JSON although Python's own reader accepts it.

    Connexion reads the body a second time for the handler, with Python's reader, so both must read the same value.

    Raises:
        JsonTooLarge: it holds too much.
        ValueError: it is not JSON, repeats a key, or holds what cannot be passed on to the worker: a number beyond 64 bits, or
            half a surrogate pair; the message says which.
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
    """Return whether every number has at most 64 bits, in one pass that avoids looking at single numbers.

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
        raise ValueError(f"the key {_short(repr(twice))} appears twice in one object")
    return value


def _integer(digits: str) -> int:
    if len(digits) > 20 or not _LEAST <= int(digits) <= _MOST:
        raise ValueError(f"the integer {_short(digits)} has more than 64 bits; write it as a string")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"the number {_short(digits)} is too large")
    return value


def _constant(name: str) -> float:
    raise ValueError(f"{name} is not a number in JSON; leave it out, or write null or a string")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)

#: Checks every number as it is written, which takes ten times as long, to name the one that is too large.
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


def _wording(error: Exception) -> str:
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
    is_valid = _validator(schema).is_valid

    def read(body: bytes | bytearray) -> Any:
        value = _parse(body, limits)
        if not is_valid(value):
            raise ValueError
        return value

    return read


def _validator(schema: Mapping[str, Any]) -> Any:
    return Draft4RequestValidator(schema, format_checker=Draft4Validator.FORMAT_CHECKER)


class _BodyValidator(AbstractRequestBodyValidator):  # type: ignore[misc]
    """Parses and validates a JSON body; a long one on a thread, so that other requests are answered in the meantime."""

    async def _parse(self, stream: AsyncGenerator[bytes, None], scope: Scope) -> Any:  # noqa: ARG002
        body = b"".join([chunk async for chunk in stream])
        return self._read(body) if len(body) <= INLINE_LIMIT else await asyncio.to_thread(self._read, body)

    def _validate(self, body: Any) -> None:
        """Do nothing: Connexion calls this on the event loop, and the body has been validated while it was parsed."""

    def _read(self, body: bytes) -> Any:
        """Return the value of a body, None for a missing body that is not required.

        Raises:
            ProblemException: it is not JSON, or does not match the schema.
        """
        if not body.strip():
            if not self._required:
                return None
            raise BadRequestProblem(detail="The request has no body; expected a JSON object.")
        try:
            large = len(body) > INLINE_LIMIT and asks_for_strings(self._schema)
            value = read_records(body) if large else _parse(body)
        except (ValueError, RecursionError) as error:
            raise BadRequestProblem(
                detail=f"The request's body is not JSON that can be read: {_wording(error)}. Expected a JSON object."
            ) from error
        if not _is_map_of_strings(value, self._schema):
            self._validate_schema(value)
        return value

    def _validate_schema(self, value: Any) -> None:
        try:
            _validator(self._schema).validate(value)
        except ValidationError as error:
            where = _place(error)
            detail = f"{where or 'The request body'}: {_explain(error)}"
            ext = {"field": where} if where else None
            raise ProblemException(status=400, title="Bad Request", detail=detail, ext=ext) from error


def _is_map_of_strings(value: Any, schema: dict[str, Any]) -> bool:
    """Return whether ``schema`` asks for any object of strings, and ``value`` is one.

    Records have this form, and jsonschema takes ten microseconds for each.
    """
    return (
        asks_for_strings(schema)
        and type(value) is dict
        and len(value) >= schema.get("minProperties", 0)
        and {str}.issuperset(map(type, value.values()))
    )


def asks_for_strings(schema: Mapping[str, Any]) -> bool:
    """Return whether a schema asks for an object of strings, of any names, and nothing else."""
    rules = {key: rule for key, rule in schema.items() if key not in _ANNOTATIONS | {"definitions", "minProperties"}}
    return rules == {"type": "object", "additionalProperties": {"type": "string"}}


class _ParameterValidator(ParameterValidator):  # type: ignore[misc]
    """Validates a query parameter."""

    @staticmethod
    def validate_parameter(
        parameter_type: str, value: Any, param: dict[str, Any], param_name: str | None = None
    ) -> str | None:
        """Return what is wrong with a parameter, or None."""
        name = param_name or param["name"]
        if value is None:
            if param.get("required"):
                return f"The {parameter_type} parameter {name!r} is missing; expected {_expected_type(param)}."
            return None
        schema = copy.copy(param.get("schema", param))
        schema.pop("required", None)  # a flag here, and a list of names in a schema
        error = next(Draft4Validator(schema).iter_errors(value), None)
        return None if error is None else f"The {parameter_type} parameter {name!r}: {_explain(error)}"


def _place(error: ValidationError) -> str:
    """Return where in the body the error is, as ``datasets.train.labels[3]``."""
    place = ""
    for part in error.absolute_path:
        place += f"[{part}]" if isinstance(part, int) else f".{part}"
    return _short(place.removeprefix("."))


def _explain(error: ValidationError) -> str:
    """Return what is wrong and what is expected, by the keyword of the schema that was violated."""
    rule, shown = error.validator, _short(repr(error.instance))
    value: Any = error.validator_value
    schema: Any = error.schema
    instance: Any = error.instance
    if rule == "type":
        return f"{shown} is not {_expected_type(schema)}."
    if rule == "enum":
        return f"{shown} is not known; expected one of {', '.join(map(str, value))}."
    if rule == "additionalProperties":
        known = ", ".join(schema.get("properties", ()))
        unknown = ", ".join(repr(key) for key in instance if key not in schema.get("properties", ()))
        return f"{_short(unknown)} is not known; expected only {known}."
    if rule == "minLength":
        return f"{shown} is too short; expected at least {value} character{'s' if value > 1 else ''}."
    if rule in ("minItems", "minProperties"):
        return f"{shown} has too few entries; expected at least {value}."
    if rule == "minimum":
        return f"{shown} is too small; expected at least {value}."
    if rule == "required":
        missing = ", ".join(repr(key) for key in value if key not in instance)
        return f"{missing} is missing."
    return f"{_short(error.message)}."


def _expected_type(schema: dict[str, Any]) -> str:
    types = schema.get("type", "string")
    return " or ".join(_TYPES.get(each, each) for each in ([types] if isinstance(types, str) else types))


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


class MediaType:
    """ASGI middleware: rewrites the media type of a body to lower case, as Connexion expects it.

    A body without a media type counts as JSON, the only type that there is.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http":
            headers = [_lower_case(name, value) for name, value in scope["headers"]]
            if not any(name == b"content-type" for name, _ in headers):
                headers.append((b"content-type", b"application/json"))
            scope = {**scope, "headers": headers}
        await self._app(scope, receive, send)


def _lower_case(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    if name != b"content-type":
        return name, value
    # Connexion fails for bytes that are not UTF-8. With question marks in their place it is an unknown type.
    value = value.decode("ascii", "replace").encode("ascii", "replace")
    media_type, separator, parameters = value.partition(b";")
    return name, media_type.strip().lower() + separator + parameters


#: For ``AsyncApp(validator_map=...)``.
VALIDATORS = {"body": {"application/json": _BodyValidator}, "parameter": _ParameterValidator}
