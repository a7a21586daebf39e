"""A contract in Swagger 2.0 as OpenAPI 3.0, which newer generators and gateways read.

It covers what the contracts of this project use: bodies, parameters of the query, of the path and of headers, references to
definitions and responses, and ``x-nullable``.

Source of the correspondence: the specifications 2.0 and 3.0.3 at https://spec.openapis.org.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mistk_service.web.contract.operations import METHODS

Json = dict[str, Any]

#: Where the shared parts of a contract are in OpenAPI 3.
_MOVED = {"#/definitions/": "#/components/schemas/", "#/responses/": "#/components/responses/"}

#: The keys of a parameter besides its schema; the rest describes its values.
_OF_PARAMETERS = frozenset({"name", "in", "description", "required", "deprecated"})


def as_openapi3(contract: Mapping[str, Any]) -> Json:
    """Return a contract in Swagger 2.0 as OpenAPI 3.0.3. The contract is not changed."""
    document = {
        key: value for key, value in contract.items() if key in ("info", "tags", "security") or key.startswith("x-")
    }
    media = contract["produces"]
    return {
        "openapi": "3.0.3",
        **document,
        "servers": [{"url": contract["basePath"]}],
        "paths": {path: _path(item, contract) for path, item in contract["paths"].items()},
        "components": {
            "schemas": _schema(contract.get("definitions", {})),
            "responses": {name: _response(each, media) for name, each in contract.get("responses", {}).items()},
            # Swagger 2.0 can only describe a token as a header.
            "securitySchemes": {
                name: {"type": "http", "scheme": "bearer"} for name in contract.get("securityDefinitions", ())
            },
        },
    }


def _path(item: Mapping[str, Any], contract: Mapping[str, Any]) -> Json:
    return {key: _operation(value, contract) if key in METHODS else _schema(value) for key, value in item.items()}


def _operation(operation: Mapping[str, Any], contract: Mapping[str, Any]) -> Json:
    given = {key: value for key, value in operation.items() if key not in ("consumes", "produces", "parameters")}
    parameters = operation.get("parameters", ())
    produces = operation.get("produces", contract["produces"])
    result = {
        **given,
        "responses": {code: _response(each, produces) for code, each in operation["responses"].items()},
    }
    if others := [_parameter(each) for each in parameters if each.get("in") != "body"]:
        result["parameters"] = others
    for body in (each for each in parameters if each.get("in") == "body"):
        result["requestBody"] = _body(body, operation.get("consumes", contract["consumes"]))
    return result


def _body(body: Mapping[str, Any], consumes: Sequence[str]) -> Json:
    content = {media: {"schema": _schema(body["schema"])} for media in consumes}
    # Generators name the argument by this extension, so that it keeps the name that it has in Swagger 2.0.
    result = {"required": body.get("required", False), "content": content, "x-codegen-request-body-name": body["name"]}
    return result | {key: body[key] for key in ("description",) if key in body}


def _parameter(parameter: Mapping[str, Any]) -> Json:
    kept = {key: value for key, value in parameter.items() if key in _OF_PARAMETERS or key.startswith("x-")}
    schema = {key: value for key, value in parameter.items() if key not in kept}
    return {**kept, "schema": _schema(schema)}


def _response(response: Mapping[str, Any], produces: Sequence[str]) -> Json:
    if "$ref" in response:
        moved: Json = _schema(response)
        return moved
    given = {key: value for key, value in response.items() if key not in ("schema", "examples")}
    if "schema" not in response:
        return given
    examples = response.get("examples", {})
    content = {
        media: {"schema": _schema(response["schema"])} | ({"example": examples[media]} if media in examples else {})
        for media in produces
    }
    return {**given, "content": content}


def _schema(value: Any) -> Any:
    """Return a schema, or any part of a contract with schemas, in the form of OpenAPI 3."""
    if isinstance(value, list):
        return [_schema(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    return {("nullable" if key == "x-nullable" else key): _moved(key, each) for key, each in value.items()}


def _moved(key: str, value: Any) -> Any:
    if key != "$ref" or not isinstance(value, str):
        return _schema(value)
    for old, new in _MOVED.items():
        value = value.replace(old, new)
    return value
