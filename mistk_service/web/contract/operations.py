"""The operations of a contract in Swagger 2.0 or OpenAPI 3."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

#: The methods of a path, as spelled in contracts.
METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})

#: The names of Starlette's convertors for the types of parameters in a path; any other parameter is a text without slashes.
_CONVERTORS = {"integer": ":int", "number": ":float", "path": ":path"}


@dataclass(frozen=True)
class Operation:
    """An operation.

    Attributes:
        name: its operationId.
        method: its HTTP method, in upper case.
        route: its path with the base path, as Starlette writes it: ``/v2/models/{name}``.
        parameters: its parameters, those of the path included, with references resolved.
        definitions: the targets of references to ``#/definitions/...``.
        secured: whether the contract asks for a log-in.
    """

    name: str
    method: str
    route: str
    parameters: Sequence[Mapping[str, Any]]
    definitions: Mapping[str, Any]
    secured: bool

    def of_place(self, place: str) -> list[Mapping[str, Any]]:
        """Return the parameters in a place: ``query``, ``path``, ``header``, or in Swagger 2.0 ``body``."""
        return [each for each in self.parameters if each["in"] == place]


def operations_of(contract: Mapping[str, Any]) -> list[Operation]:
    """Return the operations of a contract."""
    base = _base_path(contract)
    found = []
    for path, item in contract["paths"].items():
        for method in METHODS & item.keys():
            definition = item[method]
            given = (*item.get("parameters", ()), *definition.get("parameters", ()))
            parameters = [_resolved(each, contract) for each in given]
            found.append(
                Operation(
                    definition["operationId"],
                    method.upper(),
                    _route(base + path, parameters),
                    parameters,
                    contract.get("definitions", {}),
                    bool(definition.get("security", contract.get("security"))),
                )
            )
    return found


def _base_path(contract: Mapping[str, Any]) -> str:
    """Return the base path of a contract; empty for the root."""
    servers = contract.get("servers") or [{"url": contract.get("basePath", "")}]
    path: str = urlsplit(servers[0]["url"]).path
    return path.rstrip("/")


def argument_name(name: str) -> str:
    """Return the name of a handler's argument for a parameter, as Connexion makes it with ``pythonic_params``.

    It is in snake case, and ends with an underscore if it is a name of Python.
    """
    words = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    snake = re.sub(r"([a-z\d])([A-Z])", r"\1_\2", words).replace("-", "_").lower()
    if keyword.iskeyword(snake) or hasattr(builtins, snake):
        snake += "_"
    return re.sub(r"^[^a-zA-Z_]+|[^0-9a-zA-Z_]", "", snake)


def _route(path: str, parameters: Sequence[Mapping[str, Any]]) -> str:
    convertors = {each["name"]: _convertor(each) for each in parameters if each["in"] == "path"}
    return re.sub(r"\{([^}]*)\}", lambda found: f"{{{found[1].replace('-', '_')}{convertors.get(found[1], '')}}}", path)


def _convertor(parameter: Mapping[str, Any]) -> str:
    schema = parameter.get("schema", parameter)
    name = "path" if schema.get("format") == "path" else schema.get("type", "")
    return _CONVERTORS.get(name, "")


def _resolved(value: Mapping[str, Any], contract: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in value:
        found: Any = contract
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        value = found
    return value


def resolved_schema(schema: Mapping[str, Any], operation: Operation) -> Mapping[str, Any]:
    """Return a self-contained schema of an operation: with its definitions, and without a reference at the top."""
    whole = _resolved(schema, {"definitions": operation.definitions})
    return {**whole, "definitions": operation.definitions} if operation.definitions else whole
