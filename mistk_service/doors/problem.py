"""Converts errors for the prediction APIs: a status and a message, which each API formats in its own way."""

from __future__ import annotations

from dataclasses import replace

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from mistk_service.doors.mistk import problems
from mistk_service.doors.mistk.problems import Problem
from mistk_service.doors.served_model import UnknownModel
from mistk_service.errors import OperationRefused, OperationUnsupported
from mistk_service.web.error_responses import ErrorAnswer, ErrorBody, error_response
from mistk_service.web.request_body import BodyTooLarge

_MEANINGS = {404: "There is nothing at this path.", 405: "The path does not support this method."}


def problem_of(error: Exception) -> Problem:
    """Return any error as a problem. 503 if the model cannot predict in the current state, 404 for another model."""
    if isinstance(error, UnknownModel):
        return Problem(404, str(error))
    if isinstance(error, BodyTooLarge):
        message = f"The body is larger than the limit of {error.limit} bytes (--max-body)."
        return Problem(413, message, {"Connection": "close"})
    problem = problems.problem_of(error)
    if isinstance(error, HTTPException):
        return replace(problem, message=_MEANINGS.get(problem.status, problem.message))
    refused = isinstance(error, OperationRefused) and not isinstance(error, OperationUnsupported)
    # The operations that are possible now are those of the lifecycle API.
    message = problem.message.partition(" Possible now:")[0]
    return replace(problem, status=503 if refused else problem.status, message=message)


def answer_in(error_body: ErrorBody) -> ErrorAnswer:
    """Return a function that converts any error to a response with a body of this form."""

    def answer(error: Exception, scope: Scope) -> Response:  # noqa: ARG001 - the form is the same for every request
        problem = problem_of(error)
        return error_response(error_body, problem.status, problem.message, problem.headers)

    return answer
