"""Requests and responses of the Open Inference Protocol over gRPC, as tensors."""

from __future__ import annotations

from collections.abc import Sequence

from mistk_service.doors.grpc.open_inference_pb2 import InferTensorContents, ModelInferRequest, ModelInferResponse
from mistk_service.doors.inference.messages import require_unique, select_outputs
from mistk_service.doors.inference.tensors import (
    datatype_of,
    dtype_of,
    elements_of,
    from_bytes,
    from_values,
    require_few,
)
from mistk_service.errors import InvalidRequest
from mistk_service.kinds.predictions import Tensor, Tensors

#: The field of typed contents by data type. FP16 has none, so it has to be raw.
_FIELDS = {
    "bool": "bool_contents",
    **dict.fromkeys(("int8", "int16", "int32"), "int_contents"),
    "int64": "int64_contents",
    **dict.fromkeys(("uint8", "uint16", "uint32"), "uint_contents"),
    "uint64": "uint64_contents",
    "float32": "fp32_contents",
    "float64": "fp64_contents",
    "bytes": "bytes_contents",
}

_MOST_DIMENSIONS = 32


def read_request(request: ModelInferRequest) -> Tensors:
    """Return the tensors of a request. Raw tensors share its memory.

    Raises:
        InvalidRequest: contents do not match their shape or data type, or only some of them are raw.
    """
    require_unique("inputs", request.inputs)
    require_unique("outputs", request.outputs)
    raw = request.raw_input_contents
    if raw and (len(raw) != len(request.inputs) or any(each.HasField("contents") for each in request.inputs)):
        raise InvalidRequest(
            f"There are {len(request.inputs)} inputs and {len(raw)} raw contents; expected all contents raw, or none."
        )
    return Tensors(tuple(_tensor(each, raw[index] if raw else None) for index, each in enumerate(request.inputs)))


def _tensor(given: ModelInferRequest.InferInputTensor, raw: bytes | None) -> Tensor:
    dtype, shape = dtype_of(given.name, given.datatype), tuple(given.shape)
    if len(shape) > _MOST_DIMENSIONS or any(dimension < 0 for dimension in shape):
        raise InvalidRequest(
            f"The tensor {given.name[:80]!r} has no valid shape: {list(shape)[:40]}.", field=given.name
        )
    if raw is not None:
        return from_bytes(given.name, dtype, shape, memoryview(raw))
    if dtype not in _FIELDS:
        raise InvalidRequest(f"The tensor {given.name[:80]!r}: {given.datatype} has to be raw.", field=given.name)
    return from_values(given.name, dtype, shape, list(getattr(given.contents, _FIELDS[dtype])))


def build_response(
    name: str, version: str, request: ModelInferRequest, tensors: Sequence[Tensor]
) -> ModelInferResponse:
    """Return a response. Its contents are raw if those of the request are, or if one of them has to be.

    Raises:
        InvalidRequest: the model did not return an output that the client asks for.
    """
    found = select_outputs([each.name for each in request.outputs], tensors)
    raw = bool(request.raw_input_contents) or any(tensor.dtype not in _FIELDS for tensor in found)
    response = ModelInferResponse(model_name=name, model_version=version, id=request.id)
    if not raw:
        require_few(found)
    for tensor in found:
        output = response.outputs.add(name=tensor.name, datatype=datatype_of(tensor.dtype), shape=tensor.shape)
        if raw:
            response.raw_output_contents.append(bytes(tensor.data))
        else:
            output.contents.CopyFrom(InferTensorContents(**{_FIELDS[tensor.dtype]: elements_of(tensor)}))
    return response
