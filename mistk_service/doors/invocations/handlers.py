"""``/ping`` and ``/invocations``, as in MLflow's scoring server and SageMaker's containers.

https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/ and
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

from __future__ import annotations

from collections.abc import Mapping
from email.message import Message

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mistk_service.doors.instances.predict import predict, predict_tensors
from mistk_service.doors.instances.rows import arrays_as_tensors
from mistk_service.doors.invocations import formats
from mistk_service.doors.prediction_api import Door, PredictionHandlers, json_response, prediction_app
from mistk_service.doors.request_content import INLINE_LIMIT, on_thread_if, read_content
from mistk_service.doors.served_model import ServedModel
from mistk_service.resources import load_contract
from mistk_service.web.error_responses import error_response

#: The maximum number of concurrent requests of a SageMaker batch transform.
_CONCURRENT = 64

_TYPES = (formats.JSON, formats.CSV, formats.NPY, formats.NPZ, formats.PARQUET)

#: The names of MLflow's error codes by status.
_CODES = {
    404: "ENDPOINT_NOT_FOUND",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def invocations_door(model: ServedModel, max_body: int, max_queue: int) -> Door:
    """Return the API. ``max_body`` limits a request in bytes, ``max_queue`` the number of requests at a time."""
    handlers = _Handlers(model, max_body, min(max_queue, _CONCURRENT))
    app = prediction_app(load_contract("invocations-api.yaml"), handlers, error_body)
    paths = ["/ping", "/invocations", "/execution-parameters"]
    return Door("invocations", paths, ["ping", "invocations"], error_body, app)


class _Handlers(PredictionHandlers):
    def __init__(self, model: ServedModel, max_body: int, concurrent: int) -> None:
        super().__init__(model, max_body)
        self._concurrent = concurrent

    async def ping(self, request: Request) -> Response:  # noqa: ARG002 - every handler gets it
        if self._model.is_ready:
            return Response(b"\n", media_type=formats.JSON)
        return error_response(error_body, 503, self._model.why_not_ready)

    async def execution_parameters(self, request: Request) -> Response:  # noqa: ARG002
        return json_response(
            {
                "MaxConcurrentTransforms": self._concurrent,
                "BatchStrategy": "MULTI_RECORD",
                "MaxPayloadInMB": max(1, self._max_body >> 20),
            }
        )

    async def invocations(self, request: Request) -> Response:
        accepted = _accepted(request.headers.get("accept") or "*/*")
        kind, parameters = _content_type(request.headers.get("content-type") or formats.JSON)
        body = await read_content(request, self._max_body)
        read = on_thread_if(len(body) > INLINE_LIMIT)
        declared = self._model.controller.signature.inputs
        wrapped = True
        if kind in (formats.NPY, formats.NPZ):
            arrays = await read(formats.read_arrays, body, kind, self._max_body)
            predictions = await predict_tensors(self._model, request, await read(arrays_as_tensors, arrays, declared))
            wrapped = False
        elif kind == formats.CSV:
            data = await read(formats.read_csv, body, parameters.get("header", ""), declared)
            predictions = await predict(self._model, request, data, text=True)
        elif kind == formats.PARQUET:
            predictions = await predict(self._model, request, await read(formats.read_parquet, body))
        else:
            data, wrapped = await read(formats.read_json, body)
            predictions = await predict(self._model, request, data)
        if accepted == formats.CSV:
            return Response(formats.to_csv(predictions), media_type=formats.CSV)
        if accepted == formats.NPY:
            return Response(formats.to_npy(predictions), media_type=formats.NPY)
        # SageMaker's own clients read the bare predictions, MLflow's an object.
        return json_response({"predictions": predictions} if wrapped else predictions)


def _content_type(header: str) -> tuple[str, Mapping[str, str]]:
    """Return the type of a body and its parameters.

    Raises:
        HTTPException: 415, the type or the character set is not supported.
    """
    message = Message()
    message["content-type"] = header
    kind = message.get_content_type()
    parameters = {name.lower(): str(value).lower() for name, value in (message.get_params() or [])[1:]}
    if kind not in _TYPES or parameters.get("charset", "utf-8") not in ("utf-8", "utf8"):
        raise HTTPException(
            415, f"The Content-Type {header[:80]!r} is not supported; expected {', '.join(_TYPES)}, in UTF-8."
        )
    return kind, parameters


def _accepted(header: str) -> str:
    """Return the first available type that the client accepts.

    Raises:
        HTTPException: 406, no accepted type is available.
    """
    for each in header.split(","):
        kind = each.partition(";")[0].strip().lower()
        if kind in ("*/*", "application/*"):
            return formats.JSON
        if kind in (formats.JSON, formats.CSV, formats.NPY):
            return kind
    raise HTTPException(
        406, f"Accept {header[:80]!r} is not available; expected {formats.JSON}, {formats.CSV} or {formats.NPY}."
    )


def error_body(status: int, message: str) -> bytes:
    """Return the body of an error in MLflow's form."""
    return msgspec.json.encode({"error_code": _CODES.get(status, "BAD_REQUEST"), "message": message})
