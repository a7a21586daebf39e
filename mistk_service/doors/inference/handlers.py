"""The operations of the Open Inference Protocol: each reads the request, asks the controller, and builds the response."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Scope

from mistk_service import __version__
from mistk_service.core.answer_parts import AnswerParts
from mistk_service.core.controller import Controller
from mistk_service.doors.inference.messages import HEADER_LENGTH, encode_response, read_request
from mistk_service.doors.inference.tensors import datatype_of, require_declared
from mistk_service.doors.mistk.problems import answer as mistk_answer
from mistk_service.errors import MistkError, OperationRefused, OperationUnsupported
from mistk_service.kinds.predictions import TensorSpec
from mistk_service.resources import load_contract
from mistk_service.web.contract import contract_app
from mistk_service.web.disconnect import while_present
from mistk_service.web.request_body import read_body

#: The path of the protocol and its version.
INFERENCE_PATH = "/v2"

#: The maximum size of what is decoded or encoded on the event loop, in bytes.
_INLINE_LIMIT = 64 * 1024

#: The only version of the model.
_VERSION = "1"


class _UnknownModel(MistkError):
    """The container has another model, or another version."""


def inference_app(controller: Controller, max_body: int) -> ASGIApp:
    """Return the application that serves the protocol.

    Args:
        controller: does the work.
        max_body: the maximum size of a request in bytes.
    """
    handlers = _Handlers(controller, max_body)
    return contract_app(
        load_contract("inference-api.yaml"),
        handlers.resolve,
        limits=lambda _: None,  # the bodies are read by their handlers
        answer=inference_answer,
        validate=False,
    )


class _Handlers:
    def __init__(self, controller: Controller, max_body: int) -> None:
        self._controller = controller
        self._max_body = max_body

    def resolve(self, operation_id: str) -> Callable[..., Awaitable[Response]]:
        handler: Callable[..., Awaitable[Response]] = getattr(self, operation_id.replace("version_", "model_"))
        return handler

    @property
    def _name(self) -> str:
        """The name of the class in snake case."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", self._controller.view.name).lower()

    @property
    def _ready(self) -> bool:
        controller = self._controller
        row = controller.kind.prediction
        return row is not None and controller.can_take_work and controller.view.supports(row.for_tensors())

    async def server_metadata(self, request: Request) -> Response:  # noqa: ARG002 - every handler gets it
        return _json({"name": "mistk-service", "version": __version__, "extensions": ["binary_tensor_data"]})

    async def server_live(self, request: Request) -> Response:  # noqa: ARG002
        return _json({"live": True})

    async def server_ready(self, request: Request) -> Response:  # noqa: ARG002
        return _json({"ready": True}) if self._ready else self._not_ready()

    async def models(self, request: Request) -> Response:  # noqa: ARG002
        return _json({"models": [self._name]})

    async def model_metadata(self, request: Request, model_name: str, model_version: str = _VERSION) -> Response:  # noqa: ARG002
        self._require(model_name, model_version)
        signature = self._controller.signature
        return _json(
            {
                "name": model_name,
                "versions": [_VERSION],
                "platform": "mistk",
                "inputs": _metadata(signature.inputs),
                "outputs": _metadata(signature.outputs),
            }
        )

    async def model_ready(self, request: Request, model_name: str, model_version: str = _VERSION) -> Response:  # noqa: ARG002
        self._require(model_name, model_version)
        return _json({"name": model_name, "ready": True}) if self._ready else self._not_ready()

    async def model_infer(self, request: Request, model_name: str, model_version: str = _VERSION) -> Response:
        self._require(model_name, model_version)
        body = await read_body(request.scope, request.receive, self._max_body)
        declared = self._controller.signature.inputs
        header = request.headers.get(HEADER_LENGTH)
        read = _on_thread_if(len(body) > _INLINE_LIMIT)
        asked, tensors = await read(read_request, body, header, declared)
        require_declared(tensors.tensors, declared)
        prediction = self._controller.predict(tensors)
        del body, tensors  # they may be large, and are not needed while this waits
        answer = await while_present(request.receive, prediction)
        assert not isinstance(answer, AnswerParts), "the hook returns its answer at once"
        encode = _on_thread_if(answer.size > _INLINE_LIMIT)
        content, length = await encode(lambda: encode_response(model_name, _VERSION, asked, answer.tensors()))
        if length is None:
            return Response(content, media_type="application/json")
        return Response(content, media_type="application/octet-stream", headers={HEADER_LENGTH: str(length)})

    infer = model_infer

    def _require(self, name: str, version: str) -> None:
        if name != self._name or version != _VERSION:
            raise _UnknownModel(
                f"There is no version {version[:40]!r} of a model {name[:80]!r}; expected {self._name!r}, version {_VERSION}."
            )

    def _not_ready(self) -> Response:
        return _error(503, f"The model cannot predict for tensors now; its state is {self._controller.state}.")


def _metadata(specs: Sequence[TensorSpec]) -> list[dict[str, Any]]:
    return [{"name": spec.name, "datatype": datatype_of(spec.dtype), "shape": spec.shape} for spec in specs]


def _on_thread_if(large: bool) -> Callable[..., Awaitable[Any]]:
    async def inline(function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    return asyncio.to_thread if large else inline


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode({"error": message}), status, headers, "application/json")


def inference_answer(error: Exception, scope: Scope) -> Response:
    """Return any error in the protocol's form. A state in which the model cannot predict is 503."""
    if isinstance(error, _UnknownModel):
        return _error(404, str(error))
    response = mistk_answer(error, scope)
    refused = isinstance(error, OperationRefused) and not isinstance(error, OperationUnsupported)
    kept = {name: value for name, value in response.headers.items() if name in ("retry-after", "connection", "allow")}
    return _error(503 if refused else response.status_code, msgspec.json.decode(response.body)["message"], kept)
