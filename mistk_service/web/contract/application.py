"""The application that serves an API from its contract."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any

from connexion import AsyncApp, ProblemException
from connexion.http_facts import METHODS
from connexion.lifecycle import ConnexionRequest, ConnexionResponse
from connexion.middleware.context import ContextMiddleware
from connexion.middleware.exceptions import ExceptionMiddleware
from connexion.middleware.lifespan import Lifespan, LifespanMiddleware
from connexion.middleware.request_validation import RequestValidationMiddleware
from connexion.middleware.routing import RoutingMiddleware
from connexion.middleware.security import SecurityMiddleware
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from mistk_service.web.access import AccessRole, role_for
from mistk_service.web.contract.compiled import CompiledOperations, MakeReader, OperationTable
from mistk_service.web.contract.strict import strict_reader
from mistk_service.web.contract.validation import VALIDATORS, MediaType
from mistk_service.web.json_limits import JsonLimits
from mistk_service.web.refusals import ErrorAnswer

Json = dict[str, Any]

#: What Connexion judges a request with: all of it, or its path and method alone.
_VALIDATING = (
    MediaType,
    RoutingMiddleware,
    SecurityMiddleware,
    RequestValidationMiddleware,
    LifespanMiddleware,
    ContextMiddleware,
)
_ROUTING = (RoutingMiddleware, LifespanMiddleware)


def contract_app(
    contract: Mapping[str, Any],
    resolve: Callable[[str], Any],
    *,
    limits: Callable[[str], JsonLimits | None],
    answer: ErrorAnswer,
    reader: MakeReader = strict_reader,
    validate: bool = True,
    role: Callable[[str, str], AccessRole] = role_for,
    middlewares: Sequence[Callable[[ASGIApp], ASGIApp]] = (),
    executor: Executor | None = None,
    lifespan: Lifespan | None = None,
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
        middlewares: ASGI middleware in front of the operations. What of it is a ``SpecMiddleware`` gets the contract.
        executor: runs the reading of large bodies; asyncio's default unless given.
        lifespan: what happens at the start and the end of the application.

    Raises:
        ResolverError: when the application starts, if ``resolve`` raises AttributeError for an operationId.
    """
    table = OperationTable(limits, reader, answer, executor, role)
    operations = partial(CompiledOperations, table=table)
    app = AsyncApp(
        __name__,
        middlewares=[*middlewares, operations, ExceptionMiddleware, *(_VALIDATING if validate else _ROUTING)],
        lifespan=lifespan,
        strict_validation=True,
        validator_map=VALIDATORS,
    )

    async def handle(request: ConnexionRequest, error: Exception) -> ConnexionResponse:
        if isinstance(error, HTTPException) and error.status_code == 405:
            # Connexion's router names the methods of one operation, where a path may have several.
            error.headers = {"Allow": ", ".join(table.methods(request.scope["path"]))}
        response = answer(error, request.scope)
        headers = {
            name: value for name, value in response.headers.items() if name not in ("content-length", "content-type")
        }
        return ConnexionResponse(response.status_code, response.media_type, body=bytes(response.body), headers=headers)

    for kind in (ProblemException, HTTPException, Exception):
        app.add_error_handler(kind, handle)
    # A copy, which Connexion fills with defaults.
    document = copy.deepcopy(dict(contract)) if validate else _routes_only(contract)
    app.add_api(document, resolver=resolve, pythonic_params=True)
    return app  # type: ignore[no-any-return]


def _routes_only(contract: Mapping[str, Any]) -> Json:
    """Return a contract in OpenAPI 3 without everything that routing does not need.

    Connexion copies, resolves and validates the whole document for every middleware, which would be most of the time that
    the application takes to start.
    """
    paths = {
        path: {method: _route(operation) for method, operation in item.items() if method in METHODS}
        for path, item in contract["paths"].items()
    }
    return {"openapi": contract["openapi"], "info": {"title": "", "version": ""}, "paths": paths}


def _route(operation: Json) -> Json:
    return {
        "operationId": operation["operationId"],
        "parameters": [parameter for parameter in operation.get("parameters", ()) if parameter["in"] == "path"],
        "responses": {"default": {"description": ""}},
    }
