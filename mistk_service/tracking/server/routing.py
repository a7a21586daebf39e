"""Connexion's application, reduced to what a tracking server needs of it.

As it comes, Connexion walks four routers and rebuilds the wrappers of a handler for every request, and checks the body
against the schema, which cannot express how widely MLflow takes its fields; the strict reading of the fields does that
instead. Here the contract is routed once, and the operation answers right there.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import yaml
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from mistk_service.tracking.server.paths import unknown_path
from mistk_service.tracking.server.replies import MethodNotAllowed, error_body, error_status

with warnings.catch_warnings():
    # Connexion imports Starlette's test client, which warns of what it would like installed; no user can act on that.
    warnings.simplefilter("ignore")
    from connexion import AsyncApp
    from connexion.lifecycle import ConnexionRequest, ConnexionResponse
    from connexion.middleware.abstract import RoutedAPI, RoutedMiddleware
    from connexion.middleware.exceptions import ExceptionMiddleware
    from connexion.middleware.lifespan import Lifespan, LifespanMiddleware
    from connexion.middleware.routing import RoutingMiddleware
    from connexion.operations import AbstractOperation

__all__ = ["below", "load_contract", "routed"]

Json = dict[str, Any]

_METHODS = frozenset({"get", "put", "post", "patch", "delete"})


class _AnsweringAPI(RoutedAPI[ASGIApp]):  # type: ignore[misc] # untyped
    """The operations of the contract, each the application that :class:`Endpoints` made of it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_paths()

    def make_operation(self, operation: AbstractOperation) -> ASGIApp:
        application: ASGIApp = operation.function
        return application


class _Answering(RoutedMiddleware[_AnsweringAPI]):  # type: ignore[misc] # untyped
    """The middleware that answers what the router in front of it recognised."""

    api_cls = _AnsweringAPI


def load_contract(path: Path) -> Json:
    """Return the contract that stands in ``path``."""
    # libyaml, where PyYAML was built with it, reads it five times as fast.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with path.open("rb") as file:
        contract: Json = yaml.load(file, loader)  # noqa: S506 - both are safe loaders
    return contract


def below(contract: Json) -> Json:
    """Return the paths of a contract with the path of its server in front of each, whose variables are parameters.

    The operationIds get the name of the first variable and a colon in front.
    """
    server = contract["servers"][0]
    names = list(server["variables"])
    variables = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "format": "path"}} for name in names
    ]
    return {
        server["url"] + path: {
            method: {
                **operation,
                "operationId": f"{names[0]}:{operation['operationId']}",
                "parameters": [*variables, *operation.get("parameters", ())],
            }
            for method, operation in item.items()
        }
        for path, item in contract["paths"].items()
    }


def routed(contract: Json, endpoints: Callable[[str], ASGIApp], lifespan: Lifespan) -> AsyncApp:
    """Return the application that routes the contract's operations to ``endpoints``."""
    app = AsyncApp(
        __name__,
        middlewares=[ExceptionMiddleware, RoutingMiddleware, _Answering, LifespanMiddleware],
        lifespan=lifespan,
    )
    app.add_error_handler(HTTPException, _Refusals(contract).__call__)
    app.add_api(_skeleton(contract), resolver=endpoints)
    return app


def _skeleton(contract: Json) -> Json:
    """Return the contract without what routing does not look at.

    Connexion copies, resolves and validates the whole document for every middleware, which would be most of the time
    that the server takes to start. That the document is valid is tested.
    """
    paths = {
        path: {method: _operation(operation) for method, operation in item.items() if method in _METHODS}
        for path, item in contract["paths"].items()
    }
    return {"openapi": contract["openapi"], "info": {"title": "", "version": ""}, "paths": paths}


def _operation(operation: Json) -> Json:
    in_path = [parameter for parameter in operation.get("parameters", ()) if parameter["in"] == "path"]
    return {
        "operationId": operation["operationId"],
        "parameters": in_path,
        "responses": {"default": {"description": ""}},
    }


class _Refusals:
    """Answers what the router refused, in MLflow's form."""

    def __init__(self, contract: Json) -> None:
        self._methods = [(_pattern(path, item), _methods(item)) for path, item in contract["paths"].items()]

    async def __call__(self, request: ConnexionRequest, error: HTTPException) -> ConnexionResponse:
        """Return the answer for a path that is unknown, or that does not have this method."""
        path = request.scope["path"]
        # The router names the methods of one operation only, where a path has several.
        found = (methods for pattern, methods in self._methods if pattern.fullmatch(path))
        allowed = ", ".join(sorted(next(found, ())))
        refusal: Exception = unknown_path(path)
        headers = {}
        if error.status_code == 405:
            refusal = MethodNotAllowed(f"{request.method} is not possible at {path}; expected one of {allowed}.")
            headers = {"Allow": allowed}
        return ConnexionResponse(
            status_code=error_status(refusal),
            mimetype="application/json",
            body=msgspec.json.encode(error_body(refusal)),
            headers=headers,
        )


def _pattern(path: str, item: Json) -> re.Pattern[str]:
    """Return what a path of the contract matches; a parameter may have slashes where the contract calls it a path."""
    parameters = next(iter(item.values())).get("parameters", ())
    whole = {p["name"] for p in parameters if p["in"] == "path" and p["schema"].get("format") == "path"}
    return re.compile(re.sub(r"\\{(\w+)\\}", lambda name: ".+" if name[1] in whole else "[^/]+", re.escape(path)))


def _methods(item: Json) -> set[str]:
    methods = {method.upper() for method in item if method in _METHODS}
    return methods | {"HEAD"} if "GET" in methods else methods
