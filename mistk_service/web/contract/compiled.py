"""The operations of a contract, compiled once: a request that an operation recognises goes straight to its handler.

For each request, Connexion walks two routers and several middlewares, and builds validators, URI parsers and decorators. For
a small request that is most of the time. This application comes before Connexion. At the start, it prepares everything that
does not depend on the request: route, handler, limits and reader of each operation.

A request that is not recognised is passed on to Connexion, with its body, for validation and error messages. A test checks
that Connexion accepts whatever is accepted here, with the same arguments.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Executor
from typing import Any
from urllib.parse import quote

from starlette.convertors import Convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.errors import NotAllowed
from mistk_service.web.access import PRINCIPAL, AccessRole
from mistk_service.web.contract.current_request import enter
from mistk_service.web.contract.operations import Operation
from mistk_service.web.error_responses import ErrorAnswer, send_early
from mistk_service.web.json_limits import JsonLimits
from mistk_service.web.request_body import BodyTooLarge, read_body, replayed

#: The longest body that is decoded on the event loop, in bytes; decoding takes about a millisecond.
INLINE_LIMIT = 64 * 1024

#: The maximum number of paths whose operations are cached, and the maximum length of one in characters.
_PATHS, _PATH_LENGTH = 128, 256

#: Returns the arguments of a handler, from a request's scope and body. It raises :class:`NotRecognised` for a request that
#: Connexion has to validate, or any other error, which is answered.
Reader = Callable[[Scope, "bytes | bytearray"], dict[str, Any]]

#: Makes the reader of an operation; None for an operation that is left to Connexion altogether.
MakeReader = Callable[[Operation, JsonLimits], Reader | None]

#: A coroutine function that takes the reader's arguments and the parameters of the path, and returns a response.
Handler = Callable[..., Awaitable[ASGIApp]]


class NotRecognised(Exception):
    """A reader cannot tell that a request is valid; Connexion decides."""


class CompiledOperations:
    """ASGI application that serves the compiled operations; :func:`contract_app` describes the arguments.

    The ``fallback`` serves requests that an operation does not recognise; it is None if the operations recognise all.
    """

    def __init__(
        self,
        operations: Iterable[Operation],
        resolve: Callable[[str], Handler],
        limits: Callable[[str], JsonLimits | None],
        reader: MakeReader,
        answer: ErrorAnswer,
        executor: Executor | None,
        role: Callable[[str, str], AccessRole],
        fallback: ASGIApp | None,
        lifespan: ASGIApp,
    ) -> None:
        self.answer = answer
        self._lifespan = lifespan
        self.executor = executor
        self.fallback = fallback
        # Clients repeat the same few paths.
        self._cached = functools.lru_cache(_PATHS)(self._operations_of)
        #: The operations of paths without parameters; they are found without matching.
        self._plain: dict[str, dict[str, _Operation]] = {}
        self._patterns: list[tuple[re.Pattern[str], Mapping[str, Convertor[Any]], dict[str, _Operation]]] = []
        routes: defaultdict[str, dict[str, _Operation]] = defaultdict(dict)
        for operation in operations:
            name, method, limit = operation.name, operation.method, limits(operation.name)
            read = None if limit is None else reader(operation, limit)
            made = _Operation(name, resolve(name), read, limit, self, role(name, method.lower()))
            routes[operation.route][method] = made
        # Of routes that match the same paths, the most specific one comes first.
        for route in sorted(routes, key=lambda route: [_generality(segment) for segment in route.split("/")]):
            methods = routes[route]
            if "GET" in methods:
                methods.setdefault("HEAD", methods["GET"])
            pattern, _, convertors = compile_path(route)
            if convertors:
                self._patterns.append((pattern, convertors, methods))
            else:
                self._plain[route] = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        methods, parameters = self._match(scope["path"])
        operation = methods.get(scope["method"])
        principal = scope.get(PRINCIPAL)
        if operation is None:
            await self._missing(scope)(scope, receive, send)
        elif principal is not None and principal.role < operation.role:
            refusal = NotAllowed(
                f"{principal.name} has the role {principal.role.label}, and {operation.name} needs {operation.role.label}."
            )
            await send_early(self.answer(refusal, scope), scope, receive, send)
        else:
            enter(scope)
            await operation.serve(parameters, scope, receive, send)

    def _missing(self, scope: Scope) -> ASGIApp:
        """Return the response to a request for which there is no operation."""
        path: str = scope["path"]
        if methods := self._match(path)[0]:
            return self.answer(HTTPException(405, headers={"Allow": ", ".join(sorted(methods))}), scope)
        if path.endswith("/") and self._match(path[:-1])[0]:
            query = scope["query_string"].decode("ascii")
            name = quote(path[:-1].rpartition("/")[2])
            return RedirectResponse(f"../{name}" + (f"?{query}" if query else ""))
        return self.answer(HTTPException(404), scope)

    def _match(self, path: str) -> tuple[Mapping[str, _Operation], Mapping[str, Any]]:
        return self._cached(path) if len(path) <= _PATH_LENGTH else self._operations_of(path)

    def _operations_of(self, path: str) -> tuple[Mapping[str, _Operation], Mapping[str, Any]]:
        """Return the operations of a path, by method, and the parameters in it."""
        plain = self._plain.get(path)
        if plain is not None:
            return plain, {}
        for pattern, convertors, methods in self._patterns:
            if found := pattern.fullmatch(path):
                return methods, {name: convertors[name].convert(text) for name, text in found.groupdict().items()}
        return {}, {}


def _generality(segment: str) -> int:
    if "{" not in segment:
        return 0
    if segment.endswith(":path}"):
        return 3
    return 2 if segment.startswith("{") and segment.endswith("}") else 1


class _Operation:
    """One operation, with what does not change from request to request.

    Attributes:
        name: its operationId.
        role: the role that it needs.
    """

    def __init__(
        self,
        name: str,
        handler: Handler,
        read: Reader | None,
        limits: JsonLimits | None,
        app: CompiledOperations,
        role: AccessRole,
    ) -> None:
        self.name = name
        self.role = role
        #: Whether all its requests are left to the fallback.
        self._left = limits is not None and read is None
        self._handler = handler
        self._read = read
        self._max_body = limits.size if limits else 0
        self._app = app

    async def serve(self, parameters: Mapping[str, Any], scope: Scope, receive: Receive, send: Send) -> None:
        """Call the handler and send its response, or pass a request that is not recognised on to the fallback."""
        fallback = self._app.fallback
        if self._left:
            assert fallback is not None, "the operation has no reader"
            await fallback(scope, receive, send)
            return
        body: bytes | bytearray = b""
        arguments: dict[str, Any] | None = {}
        try:
            if self._read is None:
                arguments = {"request": Request(scope, receive)}
            else:
                body = await read_body(scope, receive, self._max_body)
                arguments = await self._arguments(scope, body)
            if arguments is not None:
                body = b""  # it may be large, and the handler may take long
                result = self._handler(**parameters, **arguments)
                arguments.clear()  # the handler owns them now, and may release them
                response = await result
        except ClientDisconnect:
            return
        except BodyTooLarge as error:
            await send_early(self._app.answer(error, scope), scope, receive, send, sending=error.sending)
            return
        except Exception as error:  # noqa: BLE001 - the client gets an answer after any error
            response = self._app.answer(error, scope)
        if arguments is None:
            receive = replayed(body, receive)
            enter(scope)
            assert fallback is not None, "its reader recognises every request"
            await fallback(scope, receive, send)
        else:
            await response(scope, receive, send)

    async def _arguments(self, scope: Scope, body: bytes | bytearray) -> dict[str, Any] | None:
        """Return the reader's arguments, or None if it does not recognise the request."""
        assert self._read is not None
        try:
            if len(body) <= INLINE_LIMIT:
                return self._read(scope, body)
            return await asyncio.get_running_loop().run_in_executor(self._app.executor, self._read, scope, body)
        except NotRecognised:
            return None
