"""The base of the prediction APIs: an API with its paths, an application for its contract, and responses in JSON."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import ASGIApp

from mistk_service.doors.problem import answer_in
from mistk_service.doors.served_model import ServedModel
from mistk_service.web.contract import contract_app
from mistk_service.web.error_responses import ErrorBody
from mistk_service.web.json_response import JsonText


@dataclass(frozen=True)
class Door:
    """An API for predictions.

    Attributes:
        name: its name in ``--doors`` and in the metrics.
        paths: the paths that belong to it, with everything below them.
        operations: the last segments of its paths that the metrics distinguish.
        error_body: makes the JSON of its errors.
        app: serves it.
    """

    name: str
    paths: Sequence[str]
    operations: Sequence[str]
    error_body: ErrorBody
    app: ASGIApp

    def operation(self, path: str) -> str:
        """Return the operation of a path for the metrics."""
        last = re.split("[/:]", path)[-1]
        return last if last in self.operations else "other"


class PredictionHandlers:
    """The operations of an API: methods named like their operationId, which get the request and the parameters of its path.

    Args:
        model: the model.
        max_body: the maximum size of a request in bytes.
    """

    def __init__(self, model: ServedModel, max_body: int) -> None:
        self._model = model
        self._max_body = max_body

    def resolve(self, operation_id: str) -> Callable[..., Awaitable[Response]]:
        """Return the method for an operation."""
        handler: Callable[..., Awaitable[Response]] = getattr(self, operation_id)
        return handler


def prediction_app(contract: Mapping[str, Any], handlers: PredictionHandlers, error_body: ErrorBody) -> ASGIApp:
    """Return the application that serves an API.

    Args:
        contract: in OpenAPI 3.
        handlers: the operations, which read the bodies of their requests.
        error_body: makes the JSON of an error.
    """
    return contract_app(contract, handlers.resolve, limits=lambda _: None, answer=answer_in(error_body), validate=False)


def json_response(value: Any) -> Response:
    """Return a value as JSON."""
    return JsonText(msgspec.json.encode(value))


def json_error(status: int, message: str) -> bytes:  # noqa: ARG001 - the status is not repeated in the body
    """Return the body of an error in the form of KServe and the Open Inference Protocol."""
    return msgspec.json.encode({"error": message})
