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
    read_query = _query_reader(operation.of_place("query"))
    body_name, read_body = "", None
    for given in operation.of_place("body"):
        body_name = argument_name(given["name"])
        read_body = _body_reader(resolved_schema(given["schema"], operation), limits)

    def read(scope: Scope, body: bytes | bytearray) -> dict[str, Any]:
        media_type = next((value for name, value in scope["headers"] if name == b"content-type"), None)
        try:
            arguments = read_query(scope["query_string"])
            if read_body is not None:
                if media_type != _JSON or not body:
                    raise NotRecognised
                arguments[body_name] = read_body(body)
            elif media_type is not None:
                raise NotRecognised
        except (ValueError, RecursionError) as error:
            raise NotRecognised from error
        return arguments

    return read


def _query_reader(parameters: list[Mapping[str, Any]]) -> Callable[[bytes], dict[str, Any]]:
    """Return a function that parses a query, or raises ValueError if the query needs a closer check."""
    names = {each["name"]: argument_name(each["name"]) for each in parameters}
    readers = {each["name"]: _parameter_reader(each) for each in parameters}
    required = {each["name"] for each in parameters if each.get("required")}
    defaults = {argument_name(each["name"]): each["default"] for each in parameters if "default" in each}

    def read(query: bytes) -> dict[str, Any]:
        if not query and not required:
            return dict(defaults)
        if not _PLAIN_QUERY.fullmatch(query):
            raise ValueError
        pairs = [pair.split("=") for pair in query.decode("ascii").split("&")]
        given = {name for name, _ in pairs}
        if len(given) < len(pairs) or not required <= given <= names.keys():
            raise ValueError
        return defaults | {names[name]: readers[name](text) for name, text in pairs}

    return read


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
