"""Validation of requests against the contract, with messages that say where, what was wrong, and what was expected.

Connexion's own validators stand below: these replace, through its ``validator_map``, how a body is parsed and how an error is
worded. Parsing is strict where Python's own is lax (NaN, invalid UTF-8), since what passes here goes on to the worker.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from connexion.exceptions import BadRequestProblem, ProblemException
from connexion.json_schema import Draft4RequestValidator
from connexion.validators import AbstractRequestBodyValidator, ParameterValidator
from jsonschema import Draft4Validator, ValidationError
from starlette.types import Scope

__all__ = ["VALIDATORS"]

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


class _BodyValidator(AbstractRequestBodyValidator):  # type: ignore[misc]
    """Parses a JSON body and holds it to its schema."""

    async def _parse(self, stream: AsyncGenerator[bytes, None], scope: Scope) -> Any:  # noqa: ARG002
        body = b"".join([chunk async for chunk in stream])
        if not body.strip():
            raise BadRequestProblem(detail="The request has no body; expected a JSON object.")
        try:
            return msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadRequestProblem(
                detail=f"The request's body is not JSON: {error}. Expected a JSON object."
            ) from error
        except RecursionError as error:
            raise BadRequestProblem(detail="The request's body is nested too deeply to be read.") from error

    def _validate(self, body: Any) -> None:
        validator = Draft4RequestValidator(self._schema, format_checker=Draft4Validator.FORMAT_CHECKER)
        try:
            validator.validate(body)
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
    if rule in ("minLength", "minItems", "minProperties"):
        return f"{shown} is too short; expected at least {value}."
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


#: For ``AsyncApp(validator_map=...)``.
VALIDATORS = {"body": {"application/json": _BodyValidator}, "parameter": _ParameterValidator}
