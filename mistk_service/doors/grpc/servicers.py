"""The methods of the Open Inference Protocol over gRPC, and those of gRPC's own health protocol.

https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from grpc_health.v1 import health_pb2

from mistk_service import __version__
from mistk_service.core.answer_parts import AnswerParts
from mistk_service.doors.grpc import open_inference_pb2 as pb
from mistk_service.doors.grpc.messages import build_response, read_request
from mistk_service.doors.inference.tensors import datatype_of, require_declared
from mistk_service.doors.mistk.watch import require_free_watch
from mistk_service.doors.request_content import INLINE_LIMIT, on_thread_if
from mistk_service.doors.served_model import ServedModel, UnknownModel

INFERENCE_SERVICE, HEALTH_SERVICE = "inference.GRPCInferenceService", "grpc.health.v1.Health"

_Health = health_pb2.HealthCheckResponse


class InferenceService:
    """Answers the methods of the protocol; any error is left to the server.

    Args:
        model: the model.
        max_watches: the maximum number of open watches, of which those of the lifecycle API are a part.
    """

    def __init__(self, model: ServedModel, max_watches: int) -> None:
        self._model = model
        self._max_watches = max_watches
        self._controller = model.controller

    @property
    def _ready(self) -> bool:
        return self._controller.can_accept_work and self._model.takes_tensors

    async def ServerLive(self, request: pb.ServerLiveRequest, _: Any) -> pb.ServerLiveResponse:
        """Report that the server is live."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, _: Any) -> pb.ServerReadyResponse:
        """Return whether the model can infer."""
        return pb.ServerReadyResponse(ready=self._ready)

    async def ModelReady(self, request: pb.ModelReadyRequest, _: Any) -> pb.ModelReadyResponse:
        """Return whether a model can infer."""
        self._model.require(request.name, request.version)
        return pb.ModelReadyResponse(ready=self._ready)

    async def ServerMetadata(self, request: pb.ServerMetadataRequest, _: Any) -> pb.ServerMetadataResponse:
        """Return the name and version of the server."""
        return pb.ServerMetadataResponse(name="mistk-service", version=__version__)

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, _: Any) -> pb.ModelMetadataResponse:
        """Return the inputs and outputs of a model."""
        self._model.require(request.name, request.version)
        signature = self._controller.signature
        response = pb.ModelMetadataResponse(name=request.name, versions=[self._model.version], platform="mistk")
        for field, specs in ((response.inputs, signature.inputs), (response.outputs, signature.outputs)):
            for spec in specs:
                field.add(name=spec.name, datatype=datatype_of(spec.dtype), shape=spec.shape)
        return response

    async def ModelInfer(self, request: pb.ModelInferRequest, _: Any) -> pb.ModelInferResponse:
        """Infer."""
        self._model.require(request.model_name, request.model_version)
        with self._model.statistics.measure() as measured:
            # Raw numbers are not converted, so a thread would take longer.
            converted = not request.raw_input_contents or any(each.datatype == "BYTES" for each in request.inputs)
            large = converted and request.ByteSize() > INLINE_LIMIT
            tensors = await on_thread_if(large)(read_request, request)
            require_declared(tensors.tensors, self._controller.signature.inputs)
            measured.read(len(tensors))
            answer = await self._controller.predict(tensors)
            assert not isinstance(answer, AnswerParts), "the hook returns its answer at once"
            measured.inferred()
            build = on_thread_if(answer.size > INLINE_LIMIT)
            response: pb.ModelInferResponse = await build(
                lambda: build_response(request.model_name, self._model.version, request, answer.tensors())
            )
        return response

    async def Check(self, request: health_pb2.HealthCheckRequest, _: Any) -> health_pb2.HealthCheckResponse:
        """Return whether the model can infer."""
        status = self._status(request.service)
        if status == _Health.SERVICE_UNKNOWN:
            raise UnknownModel(f"There is no service {request.service[:80]!r}.")
        return _Health(status=status)

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, _: Any
    ) -> AsyncGenerator[health_pb2.HealthCheckResponse, None]:
        """Yield whether the model can infer, now and whenever it changes."""
        require_free_watch(self._controller.log, self._max_watches)
        last = None
        async with aclosing(self._controller.log.watch()) as events:
            async for _event in events:
                if (status := self._status(request.service)) != last:
                    yield _Health(status=status)
                    last = status

    def _status(self, service: str) -> Any:
        if service not in ("", INFERENCE_SERVICE):
            return _Health.SERVICE_UNKNOWN
        return _Health.SERVING if self._ready else _Health.NOT_SERVING
