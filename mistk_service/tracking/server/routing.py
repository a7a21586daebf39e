"""The contracts that are served, GitLab's dialect below its own path, and the errors of requests that no operation sees."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from mistk_service.tracking.server.paths import unknown_path
from mistk_service.tracking.server.replies import Refused, error_response

__all__ = ["answer", "below"]

Json = dict[str, Any]


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


def answer(error: Exception, scope: Scope) -> Response:
    """Return any error as a response in MLflow's form."""
    if isinstance(error, HTTPException):
        path = scope["path"]
        if error.status_code != 405:
            return error_response(unknown_path(path))
        allowed = (error.headers or {}).get("Allow", "")
        error = Refused(
            405, f"{scope['method']} is not possible at {path}; expected one of {allowed}.", {"Allow": allowed}
        )
    return error_response(error)
