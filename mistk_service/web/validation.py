"""Validation of requests against the contract, with messages that say where, what was wrong, and what was expected.

Connexion's own validators stand below: these replace, through its ``validator_map``, how a body is parsed and how an error is
worded. Parsing is strict where Python's own is lax (NaN, invalid UTF-8), since what passes here goes on to the worker.
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from connexion.exceptions import BadRequestProblem, ProblemException
from connexion.json_schema import Draft4RequestValidator
from connexion.validators import AbstractRequestBodyValidator, ParameterValidator
from jsonschema import Draft4Validator, ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["VALIDATORS", "MediaType", "body_validator", "parse_json"]

#: How much of a wrong value is repeated in a message.
_SHOWN = 80

_TYPES = {
    "array": "an array",
    "boolean": "true or false",
    "integer": "an integer",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}


def parse_json(body: bytes | bytearray) -> Any:
    """Return the value of a JSON document, read strictly: what Python's own reader makes something of is refused.

    Connexion reads the body a second time for the handler, with that reader, so what passes here must mean the same there.

    Raises:
        ValueError: it is no JSON, or names a key twice, or holds what cannot be passed on to the worker: a number beyond 64
            bits, or half a surrogate pair; the message says which.
        RecursionError: it is nested too deeply.
    """
    text = body.decode("utf-8")
    value = _DECODER.decode(text)
    if _SURROGATE.search(text):
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    if _depth(value) > _DEEPEST:
        raise RecursionError
    return value


def _depth(value: Any) -> int:
    """Return how many arrays and objects there are in one another, or a number over the limit as soon as that is clear."""
    depth, level = 0, [value]
    while depth <= _DEEPEST:
        level = [each for each in level if isinstance(each, dict | list)]
        if not level:
            break
        depth += 1
        level = [each for box in level for each in (box.values() if isinstance(box, dict) else box)]
    return depth


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = counts.most_common(1)[0][0]
        raise ValueError(f"the key {_short(repr(twice))} stands twice in one object")
    return value


def _integer(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
        raise ValueError(f"the integer {_short(digits)} has more than 64 bits; write it as a string")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"the number {_short(digits)} is too large")
    return value


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON; leave it out, or write null or a string")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant
)

#: Where a surrogate is written as an escape; only then can half a pair have got into a text.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

#: How many arrays and objects may stand in one another. Python's reader and writers give up at a depth that depends on who
#: calls them; whoever gets the value after us calls from elsewhere.
_DEEPEST = 100


def _wording(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"it is nested too deeply; at most {_DEEPEST} arrays and objects may stand in one another"
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 (byte {error.start}: {error.reason})"
    if isinstance(error, UnicodeEncodeError):
        return "it holds half a surrogate pair, which is no Unicode text"
    return str(error)


def body_validator(schema: Mapping[str, Any]) -> Any:
    """Return what holds a body to a schema of the contract."""
    return Draft4RequestValidator(schema, format_checker=Draft4Validator.FORMAT_CHECKER)


class _BodyValidator(AbstractRequestBodyValidator):  # type: ignore[misc]
    """Parses a JSON body and holds it to its schema."""

    async def _parse(self, stream: AsyncGenerator[bytes, None], scope: Scope) -> Any:  # noqa: ARG002
        body = b"".join([chunk async for chunk in stream])
        if not body.strip():
            raise BadRequestProblem(detail="The request has no body; expected a JSON object.")
        try:
            return parse_json(body)
        except (ValueError, RecursionError) as error:
            raise BadRequestProblem(
                detail=f"The request's body is not JSON that can be read: {_wording(error)}. Expected a JSON object."
            ) from error

    def _validate(self, body: Any) -> None:
        try:
            body_validator(self._schema).validate(body)
        except ValidationError as error:
            where = _place(error)
            detail = f"{where or 'The request body'}: {_explain(error)}"
            ext = {"field": where} if where else None
            raise ProblemException(status=400, title="Bad Request", detail=detail, ext=ext) from error


class _ParameterValidator(ParameterValidator):  # type: ignore[misc]
    """Holds a query parameter to its schema."""

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
    """Return what is wrong and what was expected, by the keyword of the schema that was not met."""
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
    """ASGI middleware: tells the media type of a body as Connexion looks for it, in small letters.

    A body whose type the client has not told is taken for JSON, the one type that there is.

    Args:
        app: what gets the request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http":
            headers = [_small(name, value) for name, value in scope["headers"]]
            if not any(name == b"content-type" for name, _ in headers):
                headers.append((b"content-type", b"application/json"))
            scope = {**scope, "headers": headers}
        await self._app(scope, receive, send)


def _small(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    if name != b"content-type":
        return name, value
    media_type, separator, parameters = value.partition(b";")
    return name, media_type.strip().lower() + separator + parameters


#: For ``AsyncApp(validator_map=...)``.
VALIDATORS = {"body": {"application/json": _BodyValidator}, "parameter": _ParameterValidator}
