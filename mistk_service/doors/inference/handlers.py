"""The operations of the Open Inference Protocol: each reads the request, calls the controller, and builds the response."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from mistk_service import __version__
from mistk_service.core.answer_parts import AnswerParts
from mistk_service.doors.generation import Generation, event_stream, generate
from mistk_service.doors.inference.messages import HEADER_LENGTH, encode_response, read_request
from mistk_service.doors.inference.tensors import datatype_of, require_declared
from mistk_service.doors.prediction_api import Door, PredictionHandlers, json_error, json_response, prediction_app
from mistk_service.doors.request_content import INLINE_LIMIT, json_content, read_content
from mistk_service.doors.served_model import ServedModel
from mistk_service.errors import InvalidRequest
from mistk_service.kinds.predictions import TensorSpec
from mistk_service.resources import load_contract
from mistk_service.web.disconnect import unless_disconnected
from mistk_service.web.error_responses import error_response
from mistk_service.web.json_response import JsonText
from mistk_service.web.request_headers import headers_of

#: The extensions of the protocol that are served.
EXTENSIONS = ("binary_tensor_data", "generate", "statistics")

#: The maximum size of a request for the index in bytes.
_SMALL = 64 * 1024


class _IndexRequest(msgspec.Struct):
    ready: bool = False


class _GenerateRequest(msgspec.Struct):
    text_input: str
    id: str = ""
    parameters: dict[str, Any] = {}


def inference_door(model: ServedModel, max_body: int) -> Door:
    """Return the API. ``max_body`` limits a request in bytes."""
    app = prediction_app(load_contract("inference-api.yaml"), _Handlers(model, max_body), json_error)
    operations = ["infer", "generate", "generate_stream", "ready", "live", "stats", "index"]
    return Door("inference", ["/v2"], operations, json_error, app)


class _Handlers(PredictionHandlers):
    def __init__(self, model: ServedModel, max_body: int) -> None:
        super().__init__(model, max_body)
        self._controller = model.controller
        self._statistics = model.statistics

    def resolve(self, operation_id: str) -> Callable[..., Awaitable[Response]]:
        """Return the method for an operation; the same for a path with the version of the model."""
        return super().resolve(operation_id.replace("version_", "model_"))

    @property
    def _ready(self) -> bool:
        return self._controller.can_accept_work and (self._model.takes_tensors or self._model.generates)

    async def server_metadata(self, request: Request) -> Response:  # noqa: ARG002 - every handler gets it
        return json_response({"name": "mistk-service", "version": __version__, "extensions": EXTENSIONS})

    root_metadata = server_metadata

    async def server_live(self, request: Request) -> Response:  # noqa: ARG002
        return json_response({"live": True})

    async def server_ready(self, request: Request) -> Response:  # noqa: ARG002
        return json_response({"ready": True}) if self._ready else self._not_ready()

    async def models(self, request: Request) -> Response:  # noqa: ARG002
        return json_response({"models": [self._model.name]})

    async def model_metadata(self, request: Request, model_name: str, model_version: str = "") -> Response:  # noqa: ARG002
        self._model.require(model_name, model_version)
        signature = self._controller.signature
        return json_response(
            {
                "name": model_name,
                "versions": [self._model.version],
                "platform": "mistk",
                "inputs": _metadata(signature.inputs),
                "outputs": _metadata(signature.outputs),
            }
        )

    async def model_ready(self, request: Request, model_name: str, model_version: str = "") -> Response:  # noqa: ARG002
        self._model.require(model_name, model_version)
        return json_response({"name": model_name, "ready": True}) if self._ready else self._not_ready()

    async def model_stats(self, request: Request, model_name: str, model_version: str = "") -> Response:
        self._model.require(model_name, model_version)
        return await self.all_stats(request)

    async def all_stats(self, request: Request) -> Response:  # noqa: ARG002
        return json_response({"model_stats": [self._statistics.to_wire(self._model.name, self._model.version)]})

    async def index(self, request: Request) -> Response:
        body = await read_content(request, _SMALL)
        try:
            query = msgspec.json.decode(body or b"{}", type=_IndexRequest)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidRequest(f'The body is not {{"ready": true or false}}: {error}.') from error
        entry = {"name": self._model.name, "version": self._model.version, "state": "READY", "reason": ""}
        if not self._ready:
            entry |= {"state": "UNAVAILABLE", "reason": self._why_not_ready}
        return json_response([entry] if self._ready or not query.ready else [])

    async def model_infer(self, request: Request, model_name: str, model_version: str = "") -> Response:
        self._model.require(model_name, model_version)
        with self._statistics.measure() as measured:
            body = await read_content(request, self._max_body)
            declared = self._controller.signature.inputs
            header = headers_of(request.scope).get(HEADER_LENGTH.encode())
            # Without on_thread_if, which costs a small request a coroutine more.
            if len(body) <= INLINE_LIMIT:
                infer_request, tensors = read_request(body, header, declared)
            else:
                infer_request, tensors = await asyncio.to_thread(read_request, body, header, declared)
            require_declared(tensors.tensors, declared)
            measured.read(len(tensors))
            prediction = self._controller.predict(tensors)
            del body, tensors  # they may be large, and are not needed while this waits
            answer = await unless_disconnected(request.scope, prediction)
            assert not isinstance(answer, AnswerParts), "the hook returns its answer at once"
            measured.inferred()
            to_encode = model_name, self._model.version, infer_request, answer, request.scope["mistk.request_id"]
            if answer.size <= INLINE_LIMIT:
                content, length = encode_response(*to_encode)
            else:
                content, length = await asyncio.to_thread(encode_response, *to_encode)
        if length is None:
            return JsonText(content)
        return Response(content, media_type="application/octet-stream", headers={HEADER_LENGTH: str(length)})

    infer = model_infer

    async def model_generate(self, request: Request, model_name: str, model_version: str = "") -> Response:
        generation, head = await self._generate(request, model_name, model_version)
        text = await unless_disconnected(request.scope, asyncio.ensure_future(generation.text()))
        return json_response({**head, "text_output": text})

    generate = model_generate

    async def model_generate_stream(self, request: Request, model_name: str, model_version: str = "") -> Response:
        generation, head = await self._generate(request, model_name, model_version)
        events = ({**head, "text_output": piece} async for piece in generation)
        return event_stream(generation, events, json_error)

    generate_stream = model_generate_stream

    async def _generate(self, request: Request, name: str, version: str) -> tuple[Generation, dict[str, str]]:
        """Begin to generate, and return what else is in each response."""
        self._model.require(name, version)
        body = await json_content(request, self._max_body, _GenerateRequest)
        limit = body.parameters.get("max_tokens")
        if limit is not None and (type(limit) is not int or limit < 1):
            raise InvalidRequest("max_tokens is not a number of at least 1.", field="parameters.max_tokens")
        stop = body.parameters.get("stop", ())
        if not isinstance(stop, str | list | tuple) or not all(isinstance(each, str) for each in stop):
            raise InvalidRequest("stop is neither a text nor a list of texts.", field="parameters.stop")
        stops = [stop] if isinstance(stop, str) else stop
        generation = await generate(self._model, request, body.text_input, body.parameters, limit=limit, stop=stops)
        given = {"id": body.id} if body.id else {}
        return generation, {**given, "model_name": name, "model_version": self._model.version}

    def _not_ready(self) -> Response:
        return error_response(json_error, 503, f"The model cannot infer now. {self._why_not_ready}")

    @property
    def _why_not_ready(self) -> str:
        if self._model.takes_tensors or self._model.generates:
            return f"The state is {self._controller.state}."
        return "Its class has neither do_infer nor do_generate_stream."


def _metadata(specs: Sequence[TensorSpec]) -> list[dict[str, Any]]:
    return [
        {
            "name": spec.name,
            "datatype": datatype_of(spec.dtype),
            "shape": spec.shape,
            **({"parameters": {"content_type": spec.codec}} if spec.codec else {}),
        }
        for spec in specs
    ]
