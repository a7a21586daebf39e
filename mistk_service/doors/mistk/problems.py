"""Converts errors to responses: one table of statuses, one format of the body (ServiceError)."""

from __future__ import annotations

import http
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from mistk_service.errors import (
    ClientGone,
    InvalidRequest,
    MistkError,
    NotAllowed,
    NotAuthenticated,
    OperationRefused,
    PredictionTimedOut,
    ServiceBusy,
    TooManyAttempts,
)
from mistk_service.web.json_limits import FREE_JSON
from mistk_service.web.request_body import BodyTooLarge

logger = logging.getLogger(__name__)

#: nginx's status for a request whose client has disconnected. It only appears in the metrics.
_CLIENT_GONE = 499

#: The first class that matches decides, so subclasses come before their base.
_STATUS: tuple[tuple[type[MistkError], int], ...] = (
    (InvalidRequest, 400),
    (OperationRefused, 400),
    (TooManyAttempts, 429),
    (NotAuthenticated, 401),
    (NotAllowed, 403),
    (ServiceBusy, 503),
    (PredictionTimedOut, 504),
    (ClientGone, _CLIENT_GONE),
    (MistkError, 500),
)


def service_error(code: int, message: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """Return a ServiceError as a response. ``more`` are further keys; None values are left out."""
    return Response(error_body(code, message, **more), code, headers=headers, media_type="application/json")


def error_body(code: int, message: str, **more: Any) -> bytes:
    """Return a ServiceError as JSON, with the same arguments as :func:`service_error`."""
    body = {"code": code, "message": message, **{key: value for key, value in more.items() if value is not None}}
    return msgspec.json.encode(body) + b"\n"


@dataclass(frozen=True)
class Problem:
    """Why a request failed.

    Attributes:
        status: the HTTP status.
        message: a sentence for the caller.
        headers: further headers of the response.
        details: further keys of a ServiceError.
    """

    status: int
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


def problem_of(error: Exception) -> Problem:
    """Return any error as a problem: the service's own, Starlette's, or an unexpected one, which is logged."""
    if isinstance(error, BodyTooLarge):
        return _too_large(error.limit)
    if isinstance(error, MistkError):
        return _own_problem(error)
    if isinstance(error, HTTPException):
        return Problem(error.status_code, _sentence(error.detail, error.status_code), error.headers or {})
    logger.error("An unexpected error was answered with 500.", exc_info=error)
    return Problem(500, f"An unexpected error in the service: {type(error).__name__}: {error}")


def answer(error: Exception, scope: Scope) -> Response:  # noqa: ARG001 - the form is the same for every request
    """Return any error as a response with a ServiceError."""
    problem = problem_of(error)
    return service_error(problem.status, problem.message, headers=problem.headers, **problem.details)


def _too_large(limit: int) -> Problem:
    free = limit == FREE_JSON.size
    which = "for this operation; --max-body is for the records of streamPredict" if free else "--max-body"
    return Problem(
        413,
        f"The request's body is larger than the limit of {limit} bytes ({which}). "
        "Send fewer records at once, or put the data where the model can read it and use loadData.",
        {"Connection": "close"},
    )


def _own_problem(error: MistkError) -> Problem:
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    details: dict[str, Any] = {}
    headers: dict[str, str] = {}
    if isinstance(error, OperationRefused):
        details = {
            "operation": error.operation,
            "state": str(error.state),
            "activity": error.activity,
            "possible": list(error.possible),
        }
    elif isinstance(error, InvalidRequest):
        details = {"field": error.field}
    elif isinstance(error, ServiceBusy | TooManyAttempts) and error.retry_after is not None:
        headers = {"Retry-After": str(max(1, round(error.retry_after)))}
    return Problem(status, str(error), headers, details)


def _sentence(text: str | None, status: int) -> str:
    """Return the text. Replace a bare status phrase by a sentence that explains it."""
    phrase = http.HTTPStatus(status).phrase
    if text and text != phrase:
        return text
    return _MEANINGS.get(status, phrase)


_MEANINGS = {
    404: "There is nothing at this path. The API is at /v1/mistk, its description at /v1/mistk/ui.",
    405: "The path does not support this method. See /v1/mistk/ui for the methods of each path.",
}
