"""Responses in MLflow's format, mainly errors."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from mistk_service.errors import NotAllowed, NotAuthenticated, ServiceBusy, TooManyAttempts
from mistk_service.tracking.errors import StoreError
from mistk_service.web.json_response import JsonText
from mistk_service.web.request_body import BodyTooLarge

_log = logging.getLogger(__name__)

#: Returns a value as JSON.
encoded = msgspec.json.encode

_JSON = "application/json"

#: The HTTP status of each error code, as in MLflow; 500 for any other.
_STATUS = {
    "BAD_REQUEST": 400,
    "ENDPOINT_NOT_FOUND": 404,
    "INTERNAL_ERROR": 500,
    "INVALID_PARAMETER_VALUE": 400,
    "INVALID_STATE": 500,
    "NOT_IMPLEMENTED": 501,
    "PERMISSION_DENIED": 403,
    "RESOURCE_ALREADY_EXISTS": 400,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "TEMPORARILY_UNAVAILABLE": 503,
    "UNAUTHENTICATED": 401,
}

#: Errors of authentication and authorization: HTTP status and error code; the first class that matches counts.
_ACCESS = (
    (TooManyAttempts, 429, "REQUEST_LIMIT_EXCEEDED"),
    (NotAuthenticated, 401, "UNAUTHENTICATED"),
    (NotAllowed, 403, "PERMISSION_DENIED"),
    (ServiceBusy, 503, "TEMPORARILY_UNAVAILABLE"),
)

_UNEXPECTED = "The tracking server failed unexpectedly; its log has the details."


class Refused(StoreError):
    """A request is refused for a reason that concerns HTTP only.

    Attributes:
        status: the HTTP status.
        headers: further headers of the answer.
    """

    error_code = "BAD_REQUEST"

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


def error_json(status: int, message: str) -> bytes:
    """Return MLflow's JSON for an error outside of operations, by its HTTP status."""
    code = next((code for code, each in _STATUS.items() if each == status), "BAD_REQUEST")
    return encoded({"error_code": code, "message": message})


def error_response(error: Exception) -> Response:
    """Return an error as a response in MLflow's form; an unexpected one is logged, and its details are not shown."""
    if isinstance(error, BodyTooLarge):
        # The rest of the body is not read, so the connection cannot be used again.
        return _error("BAD_REQUEST", str(error), 413, {"connection": "close"})
    headers: dict[str, str] = {}
    if isinstance(error, StoreError):
        status, code = _STATUS.get(error.error_code, 500), error.error_code
        if isinstance(error, Refused):
            status, headers = error.status, dict(error.headers)
    else:
        found = next(((status, code) for kind, status, code in _ACCESS if isinstance(error, kind)), None)
        if found is None:
            _log.error("A request to the tracking server failed", exc_info=error)
            return _error("INTERNAL_ERROR", _UNEXPECTED, 500, {})
        status, code = found
    if (wait := getattr(error, "retry_after", None)) is not None:
        headers["retry-after"] = str(math.ceil(wait))
    return _error(code, str(error), status, headers)


def _error(code: str, message: str, status: int, headers: Mapping[str, str]) -> Response:
    return Response(encoded({"error_code": code, "message": message}), status, headers, _JSON)


def json_response(value: Any) -> Response:
    """Return ``value`` as a JSON response; bytes are JSON already."""
    return JsonText(value if isinstance(value, bytes) else encoded(value))
