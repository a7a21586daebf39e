"""``{"instances": [...]}`` → ``{"predictions": [...]}``: KServe's version 1 and Vertex AI.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol and
https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from mistk_service.doors.instances.predict import predict
from mistk_service.doors.prediction_api import Door, PredictionHandlers, json_error, json_response, prediction_app
from mistk_service.doors.request_content import json_content
from mistk_service.doors.served_model import ServedModel
from mistk_service.errors import InvalidRequest
from mistk_service.resources import load_contract
from mistk_service.web.error_responses import error_response


class _Body(msgspec.Struct):
    instances: list[Any]
    parameters: Any = None


def kserve_door(model: ServedModel, max_body: int) -> Door:
    """Return KServe's API. ``max_body`` limits a request in bytes."""
    app = prediction_app(load_contract("kserve-v1-api.yaml"), _Handlers(model, max_body), json_error)
    return Door("kserve", ["/v1/models"], ["models", "predict"], json_error, app)


def vertex_door(model: ServedModel, max_body: int, health: str | None, predict: str | None, own: Sequence[str]) -> Door:
    """Return Vertex AI's API, with its paths that are set. Those in ``own`` belong to no other API."""
    paths = {
        path: {method: {"operationId": operation, "responses": {"200": {"description": ""}}}}
        for path, method, operation in ((health, "get", "vertex_health"), (predict, "post", "vertex_predict"))
        if path
    }
    contract = {"openapi": "3.0.3", "info": {"title": "Vertex AI", "version": "1"}, "paths": paths}
    return Door("vertex", own, [], json_error, prediction_app(contract, _Handlers(model, max_body), json_error))


class _Handlers(PredictionHandlers):
    async def models(self, request: Request) -> Response:  # noqa: ARG002 - every handler gets it
        # OpenAI's clients use the same path.
        listed = {"object": "list", "data": [self._model.card()]} if self._model.generates else {}
        return json_response({"models": [self._model.name], **listed})

    async def model(self, request: Request, model_name: str) -> Response:
        self._model.require(model_name)
        return await self.vertex_health(request)

    async def vertex_health(self, request: Request) -> Response:  # noqa: ARG002
        if not self._model.is_ready:
            return error_response(json_error, 503, self._model.why_not_ready)
        card = self._model.card() if self._model.generates else {}
        return json_response({"name": self._model.name, "ready": True, **card})

    async def predict(self, request: Request, model_name: str) -> Response:
        self._model.require(model_name)
        return await self.vertex_predict(request)

    async def vertex_predict(self, request: Request) -> Response:
        body = await json_content(request, self._max_body, _Body)
        if body.parameters:
            raise InvalidRequest("parameters: expected none; they are not supported.", field="parameters")
        return json_response({"predictions": await predict(self._model, request, body.instances)})
