"""The application that serves an API from its contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.routing import Router
from starlette.types import ASGIApp

from mistk_service.web.access import AccessRole, role_for
from mistk_service.web.contract.compiled import CompiledOperations, Handler, MakeReader
from mistk_service.web.contract.fallback import ConnexionFallback
from mistk_service.web.contract.operations import operations_of
from mistk_service.web.contract.strict import strict_reader
from mistk_service.web.error_responses import ErrorAnswer
from mistk_service.web.json_limits import JsonLimits


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
        resolve: returns the handler for an operationId, a coroutine function that takes the reader's arguments and the
            parameters of the path as keyword arguments, and returns a response.
        limits: returns the limits of the body of an operation, by operationId; None for an operation whose handler reads the
            body itself and gets a ``request`` instead.
        answer: converts any error to a response.
        reader: returns the reader of the requests of an operation.
        validate: whether Connexion validates what the reader does not recognise; otherwise the reader recognises everything.
        role: returns the role that an operation needs if a log-in is required, by operationId and method.
        executor: runs the reading of large bodies; by default asyncio's.
        lifespan: the context manager around the application.

    Raises:
        AttributeError, KeyError: raised by ``resolve`` for an operationId without a handler.
    """
    fallback = ConnexionFallback(contract, resolve, answer) if validate else None
    router = Router(lifespan=lifespan)
    operations = operations_of(contract)
    return CompiledOperations(operations, resolve, limits, reader, answer, executor, role, fallback, router.lifespan)
