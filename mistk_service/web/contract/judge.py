"""Connexion as the fallback for requests that the compiled operations do not recognise: it decides, and explains errors."""

from __future__ import annotations

import asyncio
import copy
import sys
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.errors import InvalidRequest
from mistk_service.web.contract.operations import METHODS
from mistk_service.web.refusals import ErrorAnswer

if TYPE_CHECKING:
    from connexion.lifecycle import ConnexionRequest, ConnexionResponse

Json = dict[str, Any]

#: Connexion's message for a missing body, before the validator of bodies runs.
_REWORDED = {"RequestBody is required": "The request has no body; expected a JSON object."}


class Judge:
    """Connexion's ASGI application for a contract. It is created on a thread for the first request that needs it.

    Most services get none. Connexion would take two fifths of the processor time of a start, and 15 MB of memory.

    Args:
        contract: in Swagger 2.0 or OpenAPI 3.
        resolve: returns the handler for an operationId.
        methods: returns the methods of a path.
        answer: converts any error to a response.
        validate: whether to validate requests, or only to route them.
    """

    def __init__(
        self,
        contract: Mapping[str, Any],
        resolve: Callable[[str], Any],
        methods: Callable[[str], Sequence[str]],
        answer: ErrorAnswer,
        *,
        validate: bool,
    ) -> None:
        self._contract = contract
        self._resolve = resolve
        self._methods = methods
        self._answer = answer
        self._validate = validate
        self._app: ASGIApp | None = None
        self._lock = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if self._app is None:
            await asyncio.get_running_loop().run_in_executor(None, self._load)
            assert self._app is not None
        await self._app(scope, receive, send)

    def _load(self) -> None:
        with self._lock, warnings.catch_warnings():
            # Connexion's libraries warn of missing optional packages; users cannot act on that.
            warnings.simplefilter("ignore")
            if self._app is None:
                app = self._make()
                asyncio.run(_start(app))
                self._app = app

    def _make(self) -> ASGIApp:
        # Connexion imports httpx, which would load its command line with it: more than three times as much as the library
        # itself. Without that module, httpx does without a command line.
        sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
        from connexion import AsyncApp, ProblemException
        from connexion.middleware.context import ContextMiddleware
        from connexion.middleware.exceptions import ExceptionMiddleware
        from connexion.middleware.lifespan import LifespanMiddleware
        from connexion.middleware.request_validation import RequestValidationMiddleware
        from connexion.middleware.routing import RoutingMiddleware
        from connexion.middleware.security import SecurityMiddleware

        from mistk_service.web.contract.validation import VALIDATORS, MediaType

        if self._validate:
            judging = [
                MediaType,
                RoutingMiddleware,
                SecurityMiddleware,
                RequestValidationMiddleware,
                LifespanMiddleware,
                ContextMiddleware,
            ]
        else:
            judging = [RoutingMiddleware, LifespanMiddleware]
        app = AsyncApp(
            __name__,
            middlewares=[ExceptionMiddleware, *judging],
            strict_validation=True,
            validator_map=VALIDATORS,
        )
        for kind in (ProblemException, HTTPException, Exception):
            app.add_error_handler(kind, self._handle)
        # A copy, which Connexion fills with defaults.
        document = copy.deepcopy(dict(self._contract)) if self._validate else _routes_only(self._contract)
        app.add_api(document, resolver=self._resolve, pythonic_params=True)
        return app  # type: ignore[no-any-return]

    async def _handle(self, request: ConnexionRequest, error: Exception) -> ConnexionResponse:
        from connexion import ProblemException
        from connexion.lifecycle import ConnexionResponse

        if isinstance(error, HTTPException) and error.status_code == 405:
            # Connexion's router names the methods of one operation, where a path may have several.
            error.headers = {"Allow": ", ".join(self._methods(request.scope["path"]))}
        elif isinstance(error, ProblemException):
            error = _without_connexion(error)
        response = self._answer(error, request.scope)
        headers = {
            name: value for name, value in response.headers.items() if name not in ("content-length", "content-type")
        }
        return ConnexionResponse(response.status_code, response.media_type, body=bytes(response.body), headers=headers)


async def _start(app: ASGIApp) -> None:
    """Start an application, so that Connexion builds its routers and validators, and end its lifespan at once."""
    messages = iter(({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}))

    async def receive() -> dict[str, str]:
        return next(messages)

    async def send(message: object) -> None:
        pass

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)


def _without_connexion(problem: Any) -> Exception:
    """Return Connexion's error as one of Starlette's or ours."""
    detail = _REWORDED.get(problem.detail, problem.detail or problem.title)
    if problem.status == 400:
        return InvalidRequest(detail, field=(problem.ext or {}).get("field"))
    return HTTPException(problem.status, detail)


def _routes_only(contract: Mapping[str, Any]) -> Json:
    """Return the part of a contract in OpenAPI 3 that routing needs.

    Connexion copies, resolves and validates the whole document for every middleware, which would be most of the time that
    the application takes to load.
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
