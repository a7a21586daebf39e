"""The paths of the server, their spellings, and the errors for unknown paths."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.tracking.errors import EndpointNotFound, InvalidParameter
from mistk_service.tracking.server.replies import Refused, error_json, error_response

Json = dict[str, Any]

#: MLflow's own pages use /ajax-api, old clients use preview.
_SPELLING = re.compile(r"/(?:ajax-)?api/(2\.0|3\.0)/(?:preview/)?(mlflow|mlflow-artifacts)(?=/)")

#: The first part of a path below /api/X/mlflow/ → the feature, for features that are not served.
_UNSERVED = {
    "assessments": "Assessments",
    "datasets": "Evaluation datasets",
    "demo": "Demo data",
    "gateway": "The AI gateway",
    "gateway-proxy": "The AI gateway",
    "get-online-trace-details": "Traces",
    "issues": "Issues",
    "jobs": "Jobs",
    "label-schemas": "Label schemas",
    "prompt-optimization": "Prompt optimization",
    "prompts": "The prompt registry",
    "review-queues": "Review queues",
    "roles": "Roles",
    "scorers": "Scorers",
    "traces": "Traces",
    "trace": "Traces",
    "unified-traces": "Traces",
    "webhooks": "Webhooks",
    "workspaces": "Workspaces",
}


class Spellings:
    """ASGI middleware: rewrites a path to the spelling of the contract, and refuses one that is not UTF-8."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Uvicorn replaces invalid UTF-8 silently, which would change the name of a file.
        if b"%" in scope.get("raw_path", b"") and not _is_utf8(scope["raw_path"]):
            error = InvalidParameter("The path of the request is not valid UTF-8.", field="path")
            await error_response(error)(scope, receive, send)
            return
        # A base URL that ends with a slash leads to two of them.
        path = _SPELLING.sub(r"/api/\1/\2", "/" + scope["path"].lstrip("/"), count=1)
        if path != scope["path"]:
            scope = {**scope, "path": path}
        await self._app(scope, receive, send)


def _is_utf8(raw_path: bytes) -> bool:
    try:
        unquote_to_bytes(raw_path).decode()
    except UnicodeDecodeError:
        return False
    return True


def below(contract: Json) -> Json:
    """Return the paths of a contract with the path of its server before each, with its variables as parameters.

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


def answer(error: Exception, scope: Scope) -> Response:
    """Return any error as a response in MLflow's form."""
    if isinstance(error, HTTPException):
        path, status = scope["path"], error.status_code
        if status == 404:
            return error_response(_unknown_path(path))
        if status != 405:
            return Response(error_json(status, error.detail), status, error.headers, "application/json")
        allowed = (error.headers or {}).get("Allow", "")
        error = Refused(
            405, f"{scope['method']} is not possible at {path}; expected one of {allowed}.", {"Allow": allowed}
        )
    return error_response(error)


def _unknown_path(path: str) -> EndpointNotFound:
    """Return the error for an unknown path, which names the feature if it is one that is not served."""
    match = re.match(r"/api/[23]\.0/mlflow/([^/]+)", path)
    feature = _UNSERVED.get(match[1]) if match else None
    if feature:
        return EndpointNotFound(f"{feature}: not served by this tracking server (path {path}).")
    if f"{path}/".startswith("/mlflow/"):
        return EndpointNotFound(f"{path}: MLflow's own pages are served with the option --mlflow-ui.")
    if path == "/graphql" or path.startswith(("/v1/traces", "/gateway/")):
        return EndpointNotFound(f"{path} is a part of MLflow that this tracking server does not have.")
    return EndpointNotFound(f"There is no operation at {path}. The contract is at /api/2.0/mlflow/openapi.json.")
