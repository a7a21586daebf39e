"""The operations of a contract, compiled once: a request that an operation recognises goes straight to its handler.

For every request Connexion walks two routers and several middlewares and builds its validators, its URI parsers and its
decorators anew. For a small request that is most of the time, and none of it depends on the request. This middleware stands
in front of them. It gets the contract in the way that Connexion gives it to its own middlewares, and prepares of each
operation at the start whatever does not depend on the request: the route, the handler, the limits, the reader.

What is not recognised is passed on to Connexion, the body included, which decides and explains. So a contract has one judge,
and a test holds that Connexion accepts whatever is accepted here, with the same arguments.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from typing import Any

from connexion.frameworks.starlette import starlettify_path
from connexion.http_facts import METHODS
from connexion.middleware import SpecMiddleware
from connexion.middleware.context import ContextOperation
from connexion.operations import AbstractOperation
from connexion.spec import Specification
from connexion.utils import sort_routes
from starlette.convertors import Convertor
from starlette.requests import ClientDisconnect, Request
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.errors import NotAllowed
from mistk_service.web.access import PRINCIPAL, AccessRole
from mistk_service.web.json_limits import JsonLimits
from mistk_service.web.memory import LargeBlocks
from mistk_service.web.refusals import ErrorAnswer, send_early
from mistk_service.web.request_body import BodyTooLarge, read_body, replayed

#: The longest body that is decoded on the event loop, in bytes: a matter of a millisecond.
INLINE_LIMIT = 64 * 1024

#: Returns the arguments of a handler, from a request's scope and body. It raises :class:`NotRecognised` for a request that
#: Connexion has to judge, or any other error, which is answered.
Reader = Callable[[Scope, "bytes | bytearray"], dict[str, Any]]

#: Makes the reader of an operation; None for an operation that is left to Connexion altogether.
MakeReader = Callable[[AbstractOperation, JsonLimits], Reader | None]


class NotRecognised(Exception):
    """A reader does not know a request to be right; Connexion decides."""


class OperationTable:
    """The compiled operations, by path and method; :func:`contract_app` describes the arguments.

    Attributes:
        blocks: returns the memory of large bodies to the system.
    """

    def __init__(
        self,
        limits: Callable[[str], JsonLimits | None],
        reader: MakeReader,
        answer: ErrorAnswer,
        executor: Executor | None,
        role: Callable[[str, str], AccessRole],
    ) -> None:
        self._role = role
        self._limits = limits
        self._reader = reader
        self.answer = answer
        self.executor = executor
        self.blocks = LargeBlocks()
        #: The operations of paths without parameters; they are found without matching.
        self._plain: dict[str, dict[str, _Operation]] = {}
        self._patterns: list[tuple[re.Pattern[str], Mapping[str, Convertor[Any]], dict[str, _Operation]]] = []

    def add(self, specification: Specification, resolver: Any) -> None:
        """Compile the operations of a contract."""
        routes = {}
        for path, item in specification.get("paths", {}).items():
            operations = {
                method.upper(): specification.operation_cls.from_spec(
                    specification, path=path, method=method, resolver=resolver
                )
                for method in METHODS & item.keys()
            }
            types = next(iter(operations.values())).get_path_parameter_types()
            route = starlettify_path(f"{specification.base_path}{path}", types)
            routes[route] = {method: self._compiled(each) for method, each in operations.items()}
        for route in sort_routes(list(routes)):
            methods = routes[route]
            if "GET" in methods:
                methods.setdefault("HEAD", methods["GET"])
            pattern, _, convertors = compile_path(route)
            if convertors:
                self._patterns.append((pattern, convertors, methods))
            else:
                self._plain[route] = methods

    def find(self, scope: Scope) -> tuple[_Operation | None, Mapping[str, Any]]:
        """Return the operation that a request is for, if there is one, and the parameters of its path."""
        methods, parameters = self._match(scope.get("path", ""))
        return methods.get(scope.get("method", "")), parameters

    def methods(self, path: str) -> list[str]:
        """Return the methods that a path has, in the order of the alphabet."""
        return sorted(self._match(path)[0])

    def _match(self, path: str) -> tuple[Mapping[str, _Operation], Mapping[str, Any]]:
        plain = self._plain.get(path)
        if plain is not None:
            return plain, {}
        for pattern, convertors, methods in self._patterns:
            if found := pattern.match(path):
                return methods, {name: convertors[name].convert(text) for name, text in found.groupdict().items()}
        return {}, {}

    def _compiled(self, operation: AbstractOperation) -> _Operation:
        limits = self._limits(operation.operation_id)
        read = None if limits is None else self._reader(operation, limits)
        role = self._role(operation.operation_id, operation.method)
        return _Operation(operation, read, limits, self, role)


class CompiledOperations(SpecMiddleware):  # type: ignore[misc]
    """Connexion middleware that serves the compiled operations, and passes on everything else."""

    def __init__(self, app: ASGIApp, table: OperationTable) -> None:
        self._app = app
        self._table = table

    def add_api(self, specification: Specification, *, resolver: Any, **_: Any) -> None:
        """Compile the operations of an API."""
        self._table.add(specification, resolver)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or pass it on."""
        operation, parameters = self._table.find(scope)
        if operation is None:
            await self._app(scope, receive, send)
            return
        principal = scope.get(PRINCIPAL)
        if principal is not None and principal.role < operation.role:
            refusal = NotAllowed(
                f"{principal.name} has the role {principal.role.label}, and {operation.name} needs {operation.role.label}."
            )
            await send_early(self._table.answer(refusal, scope), scope, receive, send)
        elif operation.left:
            await self._app(scope, receive, send)
        else:
            await operation.serve(self._app, parameters, scope, receive, send)


class _Operation:
    """One operation, with what does not change from request to request.

    Attributes:
        name: its operationId.
        role: the role that it needs.
        left: whether Connexion serves it.
    """

    def __init__(
        self,
        operation: AbstractOperation,
        read: Reader | None,
        limits: JsonLimits | None,
        table: OperationTable,
        role: AccessRole,
    ) -> None:
        self.name: str = operation.operation_id
        self.role = role
        self.left = limits is not None and read is None
        self._handler: Callable[..., Awaitable[ASGIApp]] = operation.function
        #: Makes the request and the operation known to ``connexion.context``.
        self._enter = ContextOperation(_nothing, operation=operation)
        self._read = read
        self._max_body = limits.size if limits else 0
        self._table = table

    async def serve(
        self, judge: ASGIApp, parameters: Mapping[str, Any], scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Call the handler and send its response, or pass the request on to ``judge``."""
        body: bytes | bytearray = b""
        arguments: dict[str, Any] | None = {}
        large = False
        try:
            if self._read is None:
                arguments = {"request": Request(scope, receive)}
            else:
                body = await read_body(scope, receive, self._max_body)
                large = len(body) > INLINE_LIMIT
                arguments = await self._arguments(scope, body)
            if arguments is not None:
                body = b""  # it may be large, and the handler takes its time
                await self._enter(scope, receive, send)
                result = self._handler(**parameters, **arguments)
                arguments.clear()  # they are the handler's now, to let go of when it wants
                response = await result
        except ClientDisconnect:
            return
        except BodyTooLarge as error:
            await send_early(self._table.answer(error, scope), scope, receive, send, sending=error.sending)
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            response = self._table.answer(error, scope)
        finally:
            if large:
                self._table.blocks.used()
        if arguments is None:
            await judge(scope, replayed(body, receive), send)
        else:
            await response(scope, receive, send)

    async def _arguments(self, scope: Scope, body: bytes | bytearray) -> dict[str, Any] | None:
        """Return what the reader reads, or None where it does not recognise the request."""
        assert self._read is not None
        try:
            if len(body) <= INLINE_LIMIT:
                return self._read(scope, body)
            return await asyncio.get_running_loop().run_in_executor(self._table.executor, self._read, scope, body)
        except NotRecognised:
            return None


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Stand for the application that Connexion would call next."""
