"""Connexion's validation of requests, with messages that name the place, the problem and the expected value.

These classes replace, through Connexion's ``validator_map``, how a body is parsed and how an error is worded.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator
from typing import Any

from connexion.exceptions import BadRequestProblem, ProblemException
from connexion.validators import AbstractRequestBodyValidator, ParameterValidator
from jsonschema import Draft4Validator, ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.web.contract.compiled import INLINE_LIMIT
from mistk_service.web.contract.json_body import asks_for_strings, parse_json, schema_validator, why_unreadable
from mistk_service.web.contract.records import read_records

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
            value = read_records(body) if large else parse_json(body)
        except (ValueError, RecursionError) as error:
            raise BadRequestProblem(
                detail=f"The request's body is not JSON that can be read: {why_unreadable(error)}. Expected a JSON object."
            ) from error
        if not _is_map_of_strings(value, self._schema):
            self._validate_schema(value)
        return value

    def _validate_schema(self, value: Any) -> None:
        try:
            schema_validator(self._schema).validate(value)
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
    return place.removeprefix(".")[:80]


def _explain(error: ValidationError) -> str:
    """Return what is wrong and what is expected, by the keyword of the schema that was violated."""
    rule, shown = error.validator, f"{error.instance!r:.80}"
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
        return f"{unknown:.80} is not known; expected only {known}."
    if rule == "minLength":
        return f"{shown} is too short; expected at least {value} character{'s' if value > 1 else ''}."
    if rule in ("minItems", "minProperties"):
        return f"{shown} has too few entries; expected at least {value}."
    if rule == "minimum":
        return f"{shown} is too small; expected at least {value}."
    if rule == "required":
        missing = ", ".join(repr(key) for key in value if key not in instance)
        return f"{missing} is missing."
    return f"{error.message:.80}."


def _expected_type(schema: dict[str, Any]) -> str:
    types = schema.get("type", "string")
    return " or ".join(_TYPES.get(each, each) for each in ([types] if isinstance(types, str) else types))


class MediaType:
    """ASGI middleware: rewrites the media type of a body to lower case, which Connexion expects.

    A body without a media type counts as JSON, the only supported type.
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
    # Connexion fails for bytes that are not UTF-8. Replaced by question marks, it is an unknown type.
    value = value.decode("ascii", "replace").encode("ascii", "replace")
    media_type, separator, parameters = value.partition(b";")
    return name, media_type.strip().lower() + separator + parameters


#: For ``AsyncApp(validator_map=...)``.
VALIDATORS = {"body": {"application/json": _BodyValidator}, "parameter": _ParameterValidator}
