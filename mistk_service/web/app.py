"""The ASGI application: the API by Connexion, health and figures beside it, the page for people by Flask."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from a2wsgi import WSGIMiddleware
from connexion import AsyncApp
from connexion.exceptions import ProblemException
from connexion.options import SwaggerUIOptions
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.controller import Controller
from mistk_service.dashboard import DashboardInfo, create_dashboard
from mistk_service.errors import MistkError
from mistk_service.resources import contract_path
from mistk_service.settings import Settings
from mistk_service.states import State
from mistk_service.web.handlers import Handlers
from mistk_service.web.limits import BodyLimit
from mistk_service.web.metrics import CONTENT_TYPE, ServiceMetrics
from mistk_service.web.problems import answer_error, service_error
from mistk_service.web.validation import VALIDATORS

__all__ = ["create_app"]

#: Where the contract says the API is.
BASE_PATH = "/v1/mistk"

#: How many requests of the page for people are served at once; the live part of the page is a stream of the API.
_PAGE_THREADS = 2


def create_app(controller: Controller, settings: Settings, metrics: ServiceMetrics, version: str) -> ASGIApp:
    """Return the application.

    Args:
        controller: does the work.
        settings: limits and names.
        metrics: counts; must be an observer of the controller.
        version: of the service, for the page for people.
    """
    api, operations = _create_api(controller, settings)
    metrics.watch(lambda: controller.state, lambda: controller.in_flight, lambda: controller.log.watchers)
    dashboard = create_dashboard(DashboardInfo(model=settings.model, api_base=BASE_PATH, version=version))
    page = WSGIMiddleware(dashboard.wsgi_app, workers=_PAGE_THREADS)  # type: ignore[arg-type]
    return BodyLimit(_Paths(metrics.count(api, operations), page, controller, metrics), settings.max_body)


class _Paths:
    """Sends each request to whom it concerns, by its path."""

    def __init__(self, api: ASGIApp, page: Any, controller: Controller, metrics: ServiceMetrics) -> None:
        self._api = api
        self._page: ASGIApp = page
        self._controller = controller
        self._metrics = metrics
        self._own = {"/healthz": self._health, "/readyz": self._readiness, "/metrics": self._figures}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._api(scope, receive, send)  # start and end of the application
            return
        path: str = scope["path"]
        if path in self._own:
            await self._answer(scope)(scope, receive, send)
        elif path.startswith(f"{BASE_PATH}/") or path == BASE_PATH:
            await self._api(scope, receive, send)
        else:
            await self._page(scope, receive, send)

    def _answer(self, scope: Scope) -> Response:
        if scope["method"] not in ("GET", "HEAD"):
            return service_error(405, f"{scope['path']} takes GET only.", headers={"Allow": "GET, HEAD"})
        return self._own[scope["path"]]()

    def _health(self) -> Response:
        return Response(b'{"status":"alive"}', media_type="application/json")

    def _readiness(self) -> Response:
        ready = self._controller.can_take_work
        body: dict[str, Any] = {"ready": ready, "state": self._controller.state}
        if not ready:
            body["reason"] = _READINESS.get(
                self._controller.state, "The instance is busy and takes no stream prediction until it is ready again."
            )
        return Response(msgspec.json.encode(body), 200 if ready else 503, media_type="application/json")

    def _figures(self) -> Response:
        return Response(self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})


_READINESS = {
    State.STARTED: "The instance has not been initialized.",
    State.INITIALIZED: "The model has not been built.",
    State.FAILED: "The instance has failed; the status says why. A reset starts it anew.",
    State.TERMINATING: "The service is shutting down.",
    State.TERMINATED: "The service has shut down.",
}


def _create_api(controller: Controller, settings: Settings) -> tuple[ASGIApp, dict[str, str]]:
    """Return the API and, for the figures, which path is which operation."""
    app = AsyncApp(
        __name__, strict_validation=True, validator_map=VALIDATORS, swagger_ui_options=SwaggerUIOptions(swagger_ui=True)
    )
    path = contract_path()
    contract = _load_contract(path.read_text(encoding="utf-8"))
    handlers = Handlers(controller, api_version=contract["info"]["version"], keepalive=settings.keepalive)
    app.add_api(path, resolver=lambda operation: getattr(handlers, _snake(operation)), pythonic_params=True)
    for kind in (MistkError, ProblemException, HTTPException, Exception):
        app.add_error_handler(kind, answer_error)
    return app, {f"{BASE_PATH}{path}": path[1:] for path in contract["paths"]}


def _load_contract(text: str) -> Any:
    import yaml  # Connexion's own; kept off the module's head with the rest of what only the start needs

    return yaml.safe_load(text)


def _snake(operation_id: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation_id).lower()
