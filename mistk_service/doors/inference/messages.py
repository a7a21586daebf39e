"""Requests and responses of the Open Inference Protocol, with its binary extension."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec

from mistk_service.doors.inference.tensors import (
    JSON_LIMITS,
    datatype_of,
    dtype_of,
    from_bytes,
    from_json,
    require_few,
    to_json,
)
from mistk_service.errors import InvalidRequest
from mistk_service.kinds.predictions import DTYPES, Answer, Tensor, Tensors, TensorSpec
from mistk_service.web.json_limits import JsonTooLarge, check_json

#: The header with the length of the JSON that raw tensors follow.
HEADER_LENGTH = "inference-header-content-length"

_Parameters = dict[str, str | bool | int | float]
_Dimension = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Name = Annotated[str, msgspec.Meta(max_length=1_000)]


class _Input(msgspec.Struct):
    name: _Name
    datatype: str
    shape: Annotated[tuple[_Dimension, ...], msgspec.Meta(max_length=32)]
    parameters: _Parameters = {}
    data: msgspec.Raw = msgspec.Raw()


class _Output(msgspec.Struct):
    name: _Name
    parameters: _Parameters = {}


class InferRequest(msgspec.Struct):
    """The JSON of a request, without its inputs once they have been read."""

    inputs: list[_Input]
    id: _Name = ""
    parameters: _Parameters = {}
    outputs: list[_Output] = []


class _OutputTensor(msgspec.Struct):
    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[Any] | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, int] | msgspec.UnsetType = msgspec.UNSET


class _Response(msgspec.Struct):
    model_name: str
    model_version: str
    id: str
    outputs: list[_OutputTensor]


_request = msgspec.json.Decoder(InferRequest)


def read_request(
    body: bytes | bytearray, header: bytes | None, declared: Sequence[TensorSpec]
) -> tuple[InferRequest, Tensors]:
    """Return the JSON of a request, and its tensors. Raw tensors share the memory of the body.

    Args:
        body: the body.
        header: the header with the length of the JSON; None if there are no raw tensors.
        declared: the inputs that the model declares.

    Raises:
        InvalidRequest: the body is not a request, or its lengths do not add up.
    """
    whole = memoryview(body)
    if header == b"0":
        return _raw_request(whole, declared)
    length = len(whole) if header is None else _length(header, len(whole))
    text = bytes(body if length == len(whole) else whole[:length])
    try:
        check_json(text, JSON_LIMITS)
        request = _request.decode(text)
    except JsonTooLarge as error:
        raise InvalidRequest(f"The request's JSON: {error}; send the tensors as binary data.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The request's JSON is not an inference request: {error}.") from error
    require_unique("inputs", request.inputs)
    require_unique("outputs", request.outputs)
    tensors, position = [], length
    for each in request.inputs:
        size = each.parameters.get("binary_data_size")
        if size is None:
            tensors.append(_tensor(each, from_json, each.data))
            continue
        if type(size) is not int or not 0 <= size <= len(whole) - position or bytes(each.data):
            raise InvalidRequest(
                f"The tensor {each.name!r}: binary_data_size is {str(size)[:20]}, and {len(whole) - position} bytes are left; "
                "expected the size of its bytes, and no data in JSON.",
                field=each.name,
            )
        tensors.append(_tensor(each, from_bytes, whole[position : position + size]))
        position += size
    if position != len(whole):
        raise InvalidRequest(f"{len(whole) - position} bytes follow the last tensor; expected none.")
    request.inputs.clear()  # they refer to the text, which may be large
    return request, Tensors(tuple(tensors))


def encode_response(
    model: str, version: str, request: InferRequest, answer: Answer, default_id: str
) -> tuple[bytes, int | None]:
    """Return the body of a response, and the length of its JSON if raw tensors follow it; otherwise None.

    A request without an ``id`` gets ``default_id``.

    Raises:
        InvalidRequest: the model did not return an output that the client asks for, or one cannot be JSON.
    """
    chosen = select_outputs([each.name for each in request.outputs], answer.tensors())
    all_binary = request.parameters.get("binary_data_output") is True
    binary = {each.name: each.parameters.get("binary_data", all_binary) is True for each in request.outputs}
    require_few([tensor for tensor in chosen if not binary.get(tensor.name, all_binary)])
    outputs: list[_OutputTensor] = []
    raw: list[memoryview] = []
    for tensor in chosen:
        output = _OutputTensor(tensor.name, datatype_of(tensor.dtype), tensor.shape)
        if binary.get(tensor.name, all_binary):
            raw.append(tensor.data)
            output.parameters = {"binary_data_size": tensor.data.nbytes}
        else:
            output.data = to_json(tensor)
        outputs.append(output)
    text = msgspec.json.encode(_Response(model, version, request.id or default_id, outputs))
    return (b"".join([text, *raw]), len(text)) if raw else (text, None)


def select_outputs(names: Sequence[str], tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the outputs that a client asks for, or all if it names none.

    Raises:
        InvalidRequest: the model did not return one of them.
    """
    if not names:
        return list(tensors)
    found = {tensor.name: tensor for tensor in tensors}
    if missing := [name for name in names if name not in found]:
        raise InvalidRequest(
            f"outputs: the model has no output {missing[0][:80]!r}; expected {', '.join(found)}.", field="outputs"
        )
    return [found[name] for name in names]


def require_unique(field: str, named: Sequence[Any]) -> None:
    """Check that the names of tensors are unique.

    Raises:
        InvalidRequest: two have the same name.
    """
    if len(named) > 1 and len({each.name for each in named}) < len(named):
        raise InvalidRequest(f"{field}: two tensors have the same name.", field=field)


def _length(header: bytes, most: int) -> int:
    if not header.isdigit() or len(header) > 19 or int(header) > most:
        shown = header[:20].decode("latin-1")
        raise InvalidRequest(
            f"{HEADER_LENGTH}: {shown!r} is not the length of the JSON in a body of {most} bytes.",
            field=HEADER_LENGTH,
        )
    return int(header)


def _tensor(each: _Input, read: Callable[[str, str, tuple[int, ...], Any], Tensor], data: Any) -> Tensor:
    dtype = dtype_of(each.name, each.datatype)
    if read is from_json and not bytes(data):
        raise InvalidRequest(f"The tensor {each.name!r} has no data.", field=each.name)
    return read(each.name, dtype, each.shape, data)


def _raw_request(body: memoryview, declared: Sequence[TensorSpec]) -> tuple[InferRequest, Tensors]:
    """Return a request whose body is the data of the only input, one record with at most one variable dimension."""
    if len(declared) != 1 or declared[0].dtype == "bytes":
        raise InvalidRequest("A raw body is for a model that declares a single input of numbers.", field=HEADER_LENGTH)
    (spec,) = declared
    shape = [1, *spec.shape[1:]] if spec.shape[:1] == (-1,) else list(spec.shape)
    if shape.count(-1) == 1:
        known = DTYPES[spec.dtype]
        for dimension in shape:
            known *= dimension if dimension != -1 else 1
        shape[shape.index(-1)] = body.nbytes // known if known else 0
    if -1 in shape:
        raise InvalidRequest("A raw body cannot have several variable dimensions.", field=HEADER_LENGTH)
    tensor = from_bytes(spec.name, spec.dtype, tuple(shape), body)
    return InferRequest([], parameters={"binary_data_output": True}), Tensors((tensor,))
