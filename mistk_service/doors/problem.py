"""Converts errors for the prediction APIs: a status and a message, which each API formats in its own way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from mistk_service.doors.mistk.problems import answer as mistk_answer
from mistk_service.doors.served_model import UnknownModel
from mistk_service.errors import OperationRefused, OperationUnsupported
from mistk_service.web.error_responses import ErrorAnswer, ErrorBody, error_response
from mistk_service.web.request_body import BodyTooLarge

#: The headers of an error that belong to its status.
_HEADERS = ("allow", "connection", "retry-after", "www-authenticate")

_MEANINGS = {404: "There is nothing at this path.", 405: "The path does not support this method."}


@dataclass(frozen=True)
class Problem:
    """Why a request failed.

    Attributes:
        status: the HTTP status.
        message: a sentence for the caller.
        headers: further headers of the response.
    """

    status: int
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)


def problem_of(error: Exception, scope: Scope) -> Problem:
    """Return any error as a problem. 503 if the model cannot predict in the current state, 404 for another model."""
    if isinstance(error, UnknownModel):
        return Problem(404, str(error))
    if isinstance(error, BodyTooLarge):
        message = f"The body is larger than the limit of {error.limit} bytes (--max-body)."
        return Problem(413, message, {"Connection": "close"})
    response = mistk_answer(error, scope)
    # The operations that are possible now are those of the lifecycle API.
    message = msgspec.json.decode(response.body)["message"].partition(" Possible now:")[0]
    if isinstance(error, HTTPException):
        message = _MEANINGS.get(response.status_code, message)
    refused = isinstance(error, OperationRefused) and not isinstance(error, OperationUnsupported)
    headers = {name: value for name, value in response.headers.items() if name in _HEADERS}
    return Problem(503 if refused else response.status_code, message, headers)


def answer_in(error_body: ErrorBody) -> ErrorAnswer:
    """Return a function that converts any error to a response with a body of this form."""

    def answer(error: Exception, scope: Scope) -> Response:
        problem = problem_of(error, scope)
        return error_response(error_body, problem.status, problem.message, problem.headers)

    return answer
