"""Spellings of paths, and the parts of MLflow that are not served."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.tracking.errors import EndpointNotFound, InvalidParameter
from mistk_service.tracking.server.replies import error_response

__all__ = ["Spellings", "unknown_path"]

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
    "permissions": "Users and permissions",
    "prompt-optimization": "Prompt optimization",
    "prompts": "The prompt registry",
    "review-queues": "Review queues",
    "roles": "Users and permissions",
    "scorers": "Scorers",
    "traces": "Traces",
    "trace": "Traces",
    "unified-traces": "Traces",
    "users": "Users and permissions",
    "webhooks": "Webhooks",
    "workspaces": "Workspaces",
}


class Spellings:
    """ASGI middleware: rewrites a path to the spelling of the contract, and refuses one that is not UTF-8.

    Args:
        app: the application.
    """

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


def unknown_path(path: str) -> EndpointNotFound:
    """Return the error for an unknown path, which names the feature if it is one that is not served."""
    match = re.match(r"/api/[23]\.0/mlflow/([^/]+)", path)
    feature = _UNSERVED.get(match[1]) if match else None
    if feature:
        return EndpointNotFound(f"{feature}: not served by this tracking server (asked for {path}).")
    if path == "/graphql" or path.startswith(("/v1/traces", "/gateway/")):
        return EndpointNotFound(f"{path} is a part of MLflow that this tracking server does not have.")
    return EndpointNotFound(f"There is no operation at {path}. The contract is at /api/2.0/mlflow/openapi.json.")
