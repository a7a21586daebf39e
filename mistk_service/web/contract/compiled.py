"""Connexion's operations, compiled once: a request that is plainly right goes straight to its handler.

For every request Connexion walks two routers and five middlewares and builds its validators, its URI parsers and its
decorators anew; for a small request that is most of the time, and none of it depends on the request. This middleware stands
in front of them. It gets the contract in the way that Connexion gives it to its own middlewares, and makes of each operation,
whichever it is, what can be made at the start: the handler, the defaults, the parameters and the schema of the body.

It only ever accepts. Whatever it does not know to be right goes on to Connexion, the body included, which decides and
explains: another path or method, another media type, a query or a body that it does not recognise. So the contract has one
judge, and a test holds that whatever is accepted here, Connexion accepts with the same arguments.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from connexion.decorators.parameter import pythonic
from connexion.http_facts import METHODS
from connexion.middleware import SpecMiddleware
from connexion.middleware.context import ContextOperation
from connexion.operations import AbstractOperation
from connexion.spec import Specification
from jsonschema import Draft4Validator
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.web.contract.bodies import replayed
from mistk_service.web.contract.omitted import OmittedParameters
from mistk_service.web.contract.records import read_records
from mistk_service.web.contract.validation import AT_ONCE, accepting_reader, asks_for_strings
from mistk_service.web.memory import LargeBlocks

__all__ = ["CompiledOperations"]

#: Raised by what does not recognise a request; it says nothing, as nobody is told.
_NOT_RECOGNISED = (ValueError, RecursionError)

_JSON = b"application/json"

#: What a query that needs no decoding is made of.
_PLAIN_QUERY = re.compile(rb"\w+=[\w./~-]+(?:&\w+=[\w./~-]+)*")


class CompiledOperations(SpecMiddleware):  # type: ignore[misc]
    """See the module. To be added before Connexion's Swagger UI, so that errors of handlers are answered as ever.

    Args:
        app: Connexion's own way.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._operations: dict[tuple[str, str], _Operation] = {}
        self._omitted = OmittedParameters(app)
        self._blocks = LargeBlocks()

    def add_api(self, specification: Specification, *, resolver: Any, **_: Any) -> None:
        """Compile the operations of an API."""
        self._omitted.add_api(specification)
        for path, methods in specification.get("paths", {}).items():
            for method in METHODS & methods.keys():
                operation = specification.operation_cls.from_spec(
                    specification, path=path, method=method, resolver=resolver
                )
                if _can_compile(operation):
                    place = method.upper(), f"{specification.base_path}{path}"
                    self._operations[place] = _Operation(operation, self._blocks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or pass it on, without what its query holds and was not given."""
        if scope.get("query_string"):
            scope = self._omitted.without_omitted(scope)
        operation = self._operations.get((scope.get("method", ""), scope.get("path", "")))
        if operation is None or not operation.takes(scope):
            await self._app(scope, receive, send)
        else:
            await operation.serve(self._app, scope, receive, send)


def _can_compile(operation: AbstractOperation) -> bool:
    places = {parameter["in"] for parameter in operation.parameters}
    return not operation.security and places <= {"query", "body"} and inspect.iscoroutinefunction(operation.function)


class _Operation:
    """One operation, with what does not change from request to request."""

    def __init__(self, operation: AbstractOperation, blocks: LargeBlocks) -> None:
        self._operation = operation
        self._blocks = blocks
        self._handler: Callable[..., Awaitable[Response]] = operation.function
        self._query = _Query([each for each in operation.parameters if each["in"] == "query"])
        self._body_name: str = pythonic(operation.body_name()) if operation.body_schema() else ""
        self._read = _body_reader(operation.body_schema()) if self._body_name else None

    def takes(self, scope: Scope) -> bool:
        """Return whether the head of a request is as expected: a body of JSON where one belongs, and none elsewhere."""
        media_type, length = None, b"0"
        for name, value in scope["headers"]:
            if name == b"content-type":
                media_type = value
            elif name == b"content-length":
                length = value
        return media_type is None if self._read is None else media_type == _JSON and length != b"0"

    async def serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the handler, or ``app`` where query or body are not what the contract wants."""
        arguments = self._query.read(scope["query_string"])
        if arguments is None:
            await app(scope, receive, send)
            return
        large = False
        if self._read is not None:
            body = await _whole(receive)
            if body is None:
                return  # the client has gone
            large = len(body) > AT_ONCE
            try:
                arguments[self._body_name] = await asyncio.to_thread(self._read, body) if large else self._read(body)
            except _NOT_RECOGNISED:
                await app(scope, replayed(body, receive), send)
                return
            del body  # it may be large, and the handler takes its time

        async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
            answer = self._handler(**arguments)
            arguments.clear()  # they are the handler's now, to let go of when it wants
            response = await answer
            await response(scope, receive, send)

        try:
            await ContextOperation(endpoint, operation=self._operation)(scope, receive, send)
        finally:
            if large:
                self._blocks.used()


class _Query:
    """The query parameters of an operation.

    Args:
        parameters: as the contract has them.
    """

    def __init__(self, parameters: list[dict[str, Any]]) -> None:
        self._names = {each["name"]: pythonic(each["name"]) for each in parameters}
        self._readers = {each["name"]: _parameter_reader(each) for each in parameters}
        self._required = {each["name"] for each in parameters if each.get("required")}
        self._defaults = {pythonic(each["name"]): each["default"] for each in parameters if "default" in each}

    def read(self, query: bytes) -> dict[str, Any] | None:
        """Return the arguments, or None for a query that has to be looked at more closely."""
        if not query:
            return None if self._required else dict(self._defaults)
        if not _PLAIN_QUERY.fullmatch(query):
            return None
        pairs = [pair.split("=") for pair in query.decode("ascii").split("&")]
        given = {name for name, _ in pairs}
        if len(given) < len(pairs) or not self._required <= given <= self._names.keys():
            return None
        try:
            return self._defaults | {self._names[name]: self._readers[name](text) for name, text in pairs}
        except ValueError:
            return None


def _parameter_reader(parameter: Mapping[str, Any]) -> Callable[[str], Any]:
    """Return what makes the value of a query parameter of its text, or raises ValueError."""
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


#: How the text of a query parameter becomes a value, by its type, where there is one way to read it.
_READERS: dict[str, Callable[[str], Any]] = {"string": str, "integer": _integer, "boolean": _boolean}


def _body_reader(schema: Mapping[str, Any]) -> Callable[[bytes | bytearray], Any]:
    read = accepting_reader(schema)
    return _map_reader(schema.get("minProperties", 0), read) if asks_for_strings(schema) else read


def _map_reader(least: int, other: Callable[[bytes | bytearray], Any]) -> Callable[[bytes | bytearray], Any]:
    """Return what reads name → text, many and long as they may be, in one go; ``other`` reads the short with escapes."""

    def read(body: bytes | bytearray) -> Any:
        if b"\\" in body and len(body) <= AT_ONCE:
            return other(body)
        value = read_records(body)
        if len(value) < least:
            raise ValueError
        return value

    return read


async def _whole(receive: Receive) -> bytes | bytearray | None:
    """Return the body, or None if the client has gone before its end."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        first: bytes = message.get("body", b"")
        return first
    body = bytearray()
    while message["type"] == "http.request":
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return body
        message = await receive()
    return None
