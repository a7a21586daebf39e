"""Connexion as the fallback for requests that the compiled operations do not recognise: it decides, and explains errors."""

from __future__ import annotations

import asyncio
import copy
import gc
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.errors import InvalidRequest
from mistk_service.web.error_responses import ErrorAnswer

if TYPE_CHECKING:
    from connexion.lifecycle import ConnexionRequest, ConnexionResponse

#: Connexion's message for a missing body, before the validator of bodies runs.
_REWORDED = {"RequestBody is required": "The request has no body; expected a JSON object."}


class ConnexionFallback:
    """Connexion's ASGI application for a contract. It is created on a thread for the first request that needs it.

    Most services never need it. Connexion would take two fifths of the processor time of the start, and 15 MB of memory.

    Args:
        contract: in Swagger 2.0 or OpenAPI 3.
        resolve: returns the handler for an operationId.
        answer: converts any error to a response.
    """

    def __init__(self, contract: Mapping[str, Any], resolve: Callable[[str], Any], answer: ErrorAnswer) -> None:
        self._contract = contract
        self._resolve = resolve
        self._answer = answer
        self._loading: asyncio.Future[ASGIApp] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if self._loading is None:
            self._loading = asyncio.get_running_loop().run_in_executor(None, self._load)
        try:
            app = self._loading.result() if self._loading.done() else await asyncio.shield(self._loading)
        except Exception as error:  # noqa: BLE001 - such as a broken installation; the client gets a response
            self._loading = None
            app = self._answer(error, scope)
        await app(scope, receive, send)

    def _load(self) -> ASGIApp:
        app = self._make()
        asyncio.run(_start(app))
        gc.freeze()  # full collections need not look at it
        return app

    def _make(self) -> ASGIApp:
        # Connexion imports httpx, which would load its command line with it: more than three times as much as the library
        # itself. Without that module, httpx does without a command line.
        sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
        # It warns of the libraries that it uses; users cannot act on that.
        warnings.filterwarnings("ignore", module=r"connexion\.")
        from connexion import AsyncApp, ProblemException
        from connexion.middleware.context import ContextMiddleware
        from connexion.middleware.exceptions import ExceptionMiddleware
        from connexion.middleware.lifespan import LifespanMiddleware
        from connexion.middleware.request_validation import RequestValidationMiddleware
        from connexion.middleware.routing import RoutingMiddleware
        from connexion.middleware.security import SecurityMiddleware

        from mistk_service.web.contract.validation import VALIDATORS, MediaType

        middlewares = [
            ExceptionMiddleware,
            MediaType,
            RoutingMiddleware,
            SecurityMiddleware,
            RequestValidationMiddleware,
            LifespanMiddleware,
            ContextMiddleware,
        ]
        app = AsyncApp(__name__, middlewares=middlewares, strict_validation=True, validator_map=VALIDATORS)
        for kind in (ProblemException, HTTPException, Exception):
            app.add_error_handler(kind, self._handle)
        # A copy, which Connexion fills with defaults.
        app.add_api(copy.deepcopy(dict(self._contract)), resolver=self._resolve, pythonic_params=True)
        return app  # type: ignore[no-any-return]

    async def _handle(self, request: ConnexionRequest, error: Exception) -> ConnexionResponse:
        from connexion import ProblemException
        from connexion.lifecycle import ConnexionResponse

        if isinstance(error, ProblemException):
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
