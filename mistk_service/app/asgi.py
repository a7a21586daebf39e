"""The ASGI application: the lifecycle API, the tracking API, health, metrics, and the web page, behind one gate."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service import __version__
from mistk_service.app.about import about_container
from mistk_service.app.doors import door_of, is_below, prediction_doors
from mistk_service.app.embedded_tracking import EmbeddedTracking
from mistk_service.app.settings import Settings
from mistk_service.core.controller import Controller
from mistk_service.doors.mistk.class_contract import with_signature
from mistk_service.doors.mistk.confinement import Roots
from mistk_service.doors.mistk.handlers import Handlers
from mistk_service.doors.mistk.problems import answer, service_error
from mistk_service.doors.mistk.swagger_ui import SwaggerUI
from mistk_service.doors.ops.health import liveness, readiness, startup
from mistk_service.doors.ops.live import Live
from mistk_service.doors.ops.metrics import CONTENT_TYPE, ServiceMetrics
from mistk_service.doors.prediction_api import Door
from mistk_service.doors.problem import answer_in
from mistk_service.doors.served_model import ServedModel
from mistk_service.kinds.kind import Role
from mistk_service.kinds.predictions import Signature
from mistk_service.page import Page
from mistk_service.resources import load_contract
from mistk_service.tracking.embedded.app import is_tracking_path
from mistk_service.tracking.server.url_paths import answer as tracking_answer
from mistk_service.web.access import Authenticator
from mistk_service.web.contract import contract_app
from mistk_service.web.contract.omitted import OmittedParameters
from mistk_service.web.contract.openapi3 import as_openapi3
from mistk_service.web.error_responses import ErrorAnswer
from mistk_service.web.gate import BodyLimit, gate
from mistk_service.web.json_limits import FREE_JSON, JsonLimits
from mistk_service.web.listening import is_loopback
from mistk_service.web.prefix import Prefix, prefix_of

#: Added to the contract if clients have to log in, so that generated clients accept a token.
_LOG_IN = {
    "securityDefinitions": {
        "Authorization": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "`Bearer TOKEN`"}
    },
    "security": [{"Authorization": []}],
}

#: The maximum number of path prefixes for which the published contract is cached.
_PREFIXES = 8

#: The maximum number of paths whose application is cached. Clients repeat the same few.
_PATHS = 128

FindDoor = Callable[[str], Door | None]


def create_app(
    controller: Controller,
    settings: Settings,
    metrics: ServiceMetrics,
    tracking: EmbeddedTracking | None = None,
    authenticator: Authenticator | None = None,
    model: ServedModel | None = None,
    live: Live = Live(),  # noqa: B008 - it stays empty
) -> ASGIApp:
    """Return the application.

    ``metrics`` and ``live`` have to observe the controller. The ``authenticator`` identifies the sender of a request, if
    clients have to log in. ``model`` is the controller's model, if gRPC
    serves it too.
    """
    kind = controller.kind
    contract = load_contract(kind.contract)
    operations = {f"{kind.base_path}{path}": path[1:] for path in contract["paths"]}
    api = _create_api(controller, settings, contract)
    metrics.watch(controller, build={"version": __version__, "model": settings.model})
    if authenticator is not None:
        contract = {**contract, **_LOG_IN}
    # Connexion would serve the contract with every reference resolved: nine times the size, and without the names of types
    # that code generators and Swagger UI need.
    published = functools.lru_cache(2 * _PREFIXES)(partial(_published, contract))

    def document(scope: Scope, *, openapi3: bool) -> Response:
        return published(prefix_of(scope, settings.root_path), controller.signature, openapi3=openapi3)

    pages: dict[str, Callable[[Scope], Response]] = {
        "/healthz": lambda _: liveness(),
        "/livez": lambda _: liveness(),
        "/startupz": lambda _: startup(controller.started.is_set()),
        "/readyz": lambda _: readiness(controller, tracking.recorder.lost if tracking else None),
        "/metrics": lambda _: Response(metrics.render(), media_type=CONTENT_TYPE),
        "/page/live": lambda scope: live.response(controller, scope),
        f"{kind.base_path}/swagger.json": partial(document, openapi3=False),
        f"{kind.base_path}/openapi3.json": partial(document, openapi3=True),
    }
    model = model or ServedModel(controller, settings.model_name, settings.model_version)
    doors = prediction_doors(model, settings)
    find_door = functools.lru_cache(_PATHS)(partial(door_of, doors=doors))
    about = partial(about_container, model=model, settings=settings, doors=doors, tracked=tracking is not None)
    page = Page(about, _error_writer(lambda _: None))
    parts = _by_path(kind.base_path, api, doors, pages, [SwaggerUI(f"{kind.base_path}/ui"), page])
    container: ASGIApp = BodyLimit(parts, settings.max_body, _error_writer(find_door))
    if tracking is not None:
        container = _with_tracking(tracking, container, find_door)
    guarded = gate(
        container,
        host=settings.host,
        allowed_hosts=settings.allowed_hosts,
        max_body=settings.max_body,
        authenticator=authenticator,
        answer=_error_writer(find_door),
        audited=settings.audit_file is not None,
        access_log=settings.access_log,
    )

    @functools.lru_cache(_PATHS)
    def label(path: str) -> tuple[str, str] | None:
        if is_below(path, kind.base_path):
            return "mistk", operations.get(path, "other")
        door = find_door(path)
        return None if door is None else (door.name, door.operation(path))

    counted = metrics.count(guarded, label)
    return Prefix(counted, settings.root_path) if settings.root_path else counted


def _error_writer(find_door: FindDoor) -> ErrorAnswer:
    """Return a function that returns an error in the form of the API that a request is for."""

    def answer_by_path(error: Exception, scope: Scope) -> Response:
        if is_tracking_path(scope["path"]):
            return tracking_answer(error, scope)
        door = find_door(scope["path"])
        return (answer if door is None else answer_in(door.error_body))(error, scope)

    return answer_by_path


def _published(contract: Any, prefix: str, signature: Signature, *, openapi3: bool) -> Response:
    """Return the contract, with the base path that the API has below a prefix, and with what the class declares."""
    document = {**with_signature(contract, signature), "basePath": prefix + contract["basePath"]}
    body = msgspec.json.encode(as_openapi3(document) if openapi3 else document)
    return Response(body, media_type="application/json", headers={"Vary": "X-Forwarded-Prefix"})


def _with_tracking(tracking: EmbeddedTracking, container: ASGIApp, find_door: FindDoor) -> ASGIApp:
    """Return one application for the tracking server and the container.

    The tracking server has its own limits, since it transfers files of any size.

    A path that Vertex AI was given is not the tracking server's.
    """

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and is_tracking_path(scope["path"]) and not find_door(scope["path"]):
            await tracking(scope, receive, send)
        else:
            await container(scope, receive, send)

    return dispatch


def _by_path(
    base: str,
    api: ASGIApp,
    doors: Sequence[Door],
    pages: Mapping[str, Callable[[Scope], Response]],
    uis: Sequence[SwaggerUI | Page],
) -> ASGIApp:
    """Return an application that dispatches by path to APIs, single pages and user interfaces.

    The API at ``base`` handles the lifespan.
    """

    @functools.lru_cache(_PATHS)
    def find_app(path: str) -> ASGIApp | None:
        for ui in uis:
            if ui.serves(path):
                return ui
        if is_below(path, base):
            return api
        door = door_of(path, doors)
        return None if door is None else door.app

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await api(scope, receive, send)
            return
        path: str = scope["path"]
        if path in pages and scope["method"] not in ("GET", "HEAD"):
            part: ASGIApp | None = service_error(405, f"{path} takes GET only.", headers={"Allow": "GET, HEAD"})
        elif path in pages:
            part = pages[path](scope)
        else:
            part = find_app(path)
        if part is None:
            part = service_error(404, f"There is nothing at {path[:200]}. The page is at /, the API below {base}.")
        await part(scope, receive, send)

    return route


def _confinement(settings: Settings) -> Roots | None:
    """Return the roots below which paths in requests must lie; None for no restriction."""
    roots = Roots(settings.data_root, settings.model_root, settings.output_root)
    free = is_loopback(settings.host) or settings.insecure
    return None if free and roots == Roots() else roots


def _create_api(controller: Controller, settings: Settings, contract: Mapping[str, Any]) -> ASGIApp:
    # Records are strings. Any other JSON becomes objects several times its size.
    free = dataclasses.replace(FREE_JSON, size=min(FREE_JSON.size, settings.max_body))
    records = JsonLimits(size=settings.max_body)
    predictions = {row.name for row in controller.kind.of_role(Role.PREDICTION)}
    handlers = Handlers(
        controller,
        contract,
        keepalive=settings.keepalive,
        root_path=settings.root_path,
        roots=_confinement(settings),
        max_watches=settings.max_watches,
    )
    api = contract_app(
        contract,
        handlers.resolve,
        limits=lambda operation: records if operation in predictions else free,
        answer=answer,
        role=handlers.role,
    )
    return OmittedParameters(api, contract)
