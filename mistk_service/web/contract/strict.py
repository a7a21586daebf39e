"""Strict readers of requests: Connexion would accept what they accept, with the same arguments.

They give no reasons for a rejection; the validators do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from jsonschema import Draft4Validator
from starlette.types import Scope

from mistk_service.web.contract.compiled import INLINE_LIMIT, NotRecognised, Reader
from mistk_service.web.contract.json_body import accepting_reader, asks_for_strings
from mistk_service.web.contract.operations import Operation, argument_name, resolved_schema
from mistk_service.web.contract.records import read_records
from mistk_service.web.json_limits import JsonLimits

_JSON = b"application/json"

#: The characters of a query that needs no decoding.
_PLAIN_QUERY = re.compile(rb"\w+=[\w./~-]+(?:&\w+=[\w./~-]+)*")


def strict_reader(operation: Operation, limits: JsonLimits) -> Reader | None:
    """Return the reader of an operation in Swagger 2.0; None for one with parameters elsewhere than in query and body."""
    if operation.secured or not {each["in"] for each in operation.parameters} <= {"query", "body"}:
        return None
    return _StrictReader(operation, limits)


class _StrictReader:
    def __init__(self, operation: Operation, limits: JsonLimits) -> None:
        self._query = _Query(operation.of_place("query"))
        self._body_name = ""
        self._read_body = None
        for body in operation.of_place("body"):
            self._body_name = argument_name(body["name"])
            self._read_body = _body_reader(resolved_schema(body["schema"], operation), limits)

    def __call__(self, scope: Scope, body: bytes | bytearray) -> dict[str, Any]:
        """Return the arguments of the handler.

        Raises:
            NotRecognised: the request may not be valid.
        """
        media_type = next((value for name, value in scope["headers"] if name == b"content-type"), None)
        try:
            arguments = self._query.read(scope["query_string"])
            if self._read_body is not None:
                if media_type != _JSON or not body:
                    raise NotRecognised
                arguments[self._body_name] = self._read_body(body)
            elif media_type is not None:
                raise NotRecognised
        except (ValueError, RecursionError) as error:
            raise NotRecognised from error
        return arguments


class _Query:
    """The query parameters of an operation."""

    def __init__(self, parameters: list[Mapping[str, Any]]) -> None:
        self._names = {each["name"]: argument_name(each["name"]) for each in parameters}
        self._readers = {each["name"]: _parameter_reader(each) for each in parameters}
        self._required = {each["name"] for each in parameters if each.get("required")}
        self._defaults = {argument_name(each["name"]): each["default"] for each in parameters if "default" in each}

    def read(self, query: bytes) -> dict[str, Any]:
        """Return the arguments.

        Raises:
            ValueError: the query needs a closer check.
        """
        if not query and not self._required:
            return dict(self._defaults)
        if not _PLAIN_QUERY.fullmatch(query):
            raise ValueError
        pairs = [pair.split("=") for pair in query.decode("ascii").split("&")]
        given = {name for name, _ in pairs}
        if len(given) < len(pairs) or not self._required <= given <= self._names.keys():
            raise ValueError
        return self._defaults | {self._names[name]: self._readers[name](text) for name, text in pairs}


def _parameter_reader(parameter: Mapping[str, Any]) -> Callable[[str], Any]:
    """Return a function that parses a query parameter, or raises ValueError."""
    schema = {key: value for key, value in parameter.items() if key != "required"}
    is_valid = Draft4Validator(schema).is_valid
    convert = _READERS.get(parameter.get("type", ""))

    def read(text: str) -> Any:
        if convert is None or not is_valid(value := convert(text)):
            raise ValueError
        return value

    return read


def _integer(text: str) -> int:
    if not text.isdigit() or len(text) > 18:
        raise ValueError
    return int(text)


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError
    return text == "true"


#: The parsers of query parameters by type, for types with an unambiguous form.
_READERS: dict[str, Callable[[str], Any]] = {"string": str, "integer": _integer, "boolean": _boolean}


def _body_reader(schema: Mapping[str, Any], limits: JsonLimits) -> Callable[[bytes | bytearray], Any]:
    read = accepting_reader(schema, limits)
    return _map_reader(schema.get("minProperties", 0), read) if asks_for_strings(schema) else read


def _map_reader(least: int, other: Callable[[bytes | bytearray], Any]) -> Callable[[bytes | bytearray], Any]:
    """Return a fast reader of objects of strings; ``other`` reads short ones with escapes."""

    def read(body: bytes | bytearray) -> Any:
        if b"\\" in body and len(body) <= INLINE_LIMIT:
            return other(body)
        value = read_records(body)
        if len(value) < least:
            raise ValueError
        return value

    return read
