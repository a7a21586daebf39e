"""The application that serves an API from its contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.web.access import AccessRole, role_for
from mistk_service.web.contract.compiled import CompiledOperations, Handler, MakeReader, OperationTable
from mistk_service.web.contract.judge import Judge
from mistk_service.web.contract.operations import operations_of
from mistk_service.web.contract.strict import strict_reader
from mistk_service.web.json_limits import JsonLimits
from mistk_service.web.refusals import ErrorAnswer


def contract_app(
    contract: Mapping[str, Any],
    resolve: Callable[[str], Handler],
    *,
    limits: Callable[[str], JsonLimits | None],
    answer: ErrorAnswer,
    reader: MakeReader = strict_reader,
    validate: bool = True,
    role: Callable[[str, str], AccessRole] = role_for,
    executor: Executor | None = None,
    lifespan: Callable[[Any], AbstractAsyncContextManager[None]] | None = None,
) -> ASGIApp:
    """Return the ASGI application that serves a contract.

    Args:
        contract: in Swagger 2.0 or OpenAPI 3.
        resolve: returns the handler for an operationId, a coroutine function that takes what the reader has read and the
            parameters of the path as keyword arguments, and returns a response.
        limits: returns what the body of an operation may hold, by operationId; None for an operation whose handler reads the
            body itself and gets a ``request`` instead.
        answer: turns any error into a response.
        reader: returns what reads the requests of an operation.
        validate: whether Connexion validates what the reader does not recognise, or only routes it.
        role: returns the role that an operation needs where clients have to log in, by operationId and method.
        executor: runs the reading of large bodies; asyncio's default unless given.
        lifespan: what happens at the start and the end of the application.

    Raises:
        AttributeError, KeyError: raised by ``resolve`` for an operationId without a handler.
    """
    table = OperationTable(operations_of(contract), resolve, limits, reader, answer, executor, role)
    operations = CompiledOperations(Judge(contract, resolve, table.methods, answer, validate=validate), table)
    router = Router(lifespan=lifespan)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await router.lifespan(scope, receive, send)
        else:
            await operations(scope, receive, send)

    return app
