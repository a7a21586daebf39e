"""Fuzzing the Open Inference Protocol: its binary framing over REST, and its messages over gRPC.

Whatever a client sends, it gets an answer in the form of the protocol, and no error of the server.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2 as pb

from tests.service.harness import REQUEST_TIMEOUT, Service
from tests.service.test_grpc import FIELDS, grpc_address
from tests.support.harness import reference

SIZES = {name: int(name.strip("BOLUINTFP") or 8) // 8 for name in FIELDS if name != "BYTES"} | {"FP16": 2}

#: The codes of a request that is wrong.
WRONG = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)

fuzzed = settings(suppress_health_check=list(HealthCheck), max_examples=80, deadline=None)

datatypes = st.sampled_from([*SIZES, "BYTES"])
dimensions = st.integers(0, 4) | st.sampled_from([-1, -(2**63), 2**31, 2**62, 2**63 - 1])
shapes = st.lists(dimensions, max_size=4) | st.lists(st.integers(0, 3), max_size=40)
names = st.sampled_from(["a", "b", "", "é", "x" * 300, "\0"])
lengths = st.integers(0, 2**32 - 1) | st.integers(0, 12)
#: Byte strings with lengths that are true or lie.
framed = st.lists(st.tuples(lengths | st.none(), st.binary(max_size=9)), max_size=4).map(
    lambda parts: b"".join((len(data) if size is None else size).to_bytes(4, "little") + data for size, data in parts)
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    options = ("--port", "0", "--grpc-port", "0", "--max-body", "100000", "--no-tracking")
    with Service("serve", reference("tensors:Echo"), *options, cwd=tmp_path_factory.mktemp("fuzz")) as service:
        service.make_ready()
        yield service
        assert service.status()["state"] == "ready"
        assert service.metric("mistk_worker_restarts_total") == 0


@pytest.fixture(scope="module")
def channel(echo: Service) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(grpc_address(echo)) as channel:
        yield channel


def infer(echo: Service, body: bytes, **headers: str) -> httpx.Response:
    return echo.api.post(f"{echo.url}/v2/models/echo/infer", content=body, headers=headers)


@st.composite
def whole(draw: st.DrawFn) -> tuple[str, list[int], bytes]:
    """A tensor whose bytes are those of its type and shape."""
    datatype, shape = draw(datatypes), draw(st.lists(st.integers(0, 3), max_size=3))
    count = math.prod(shape)
    if datatype == "BYTES":
        strings = draw(st.lists(st.binary(max_size=5), min_size=count, max_size=count))
        return datatype, shape, b"".join(len(each).to_bytes(4, "little") + each for each in strings)
    size = count * SIZES[datatype]
    data = draw(st.binary(min_size=size, max_size=size))
    return datatype, shape, bytes(each & 1 for each in data) if datatype == "BOOL" else data


@fuzzed
@given(st.lists(whole(), min_size=1, max_size=3))
def test_tensors_come_back_as_they_were_by_both_ways(
    echo: Service, channel: grpc.Channel, tensors: list[tuple[str, list[int], bytes]]
) -> None:
    message = pb.ModelInferRequest(model_name="echo")
    inputs = []
    for number, (datatype, shape, data) in enumerate(tensors):
        message.inputs.add(name=str(number), datatype=datatype, shape=shape)
        message.raw_input_contents.append(data)
        described = {"name": str(number), "datatype": datatype, "shape": shape}
        inputs.append({**described, "parameters": {"binary_data_size": len(data)}})
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    body = b"".join(data for _, _, data in tensors)
    answer = infer(echo, head + body, **{"Inference-Header-Content-Length": str(len(head))})
    assert answer.status_code == 200, answer.text
    length = int(answer.headers["inference-header-content-length"])
    assert answer.content[length:] == body
    call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    response = pb.ModelInferResponse.FromString(call(message.SerializeToString(), timeout=REQUEST_TIMEOUT))
    assert [bytes(each) for each in response.raw_output_contents] == [data for _, _, data in tensors]
    assert [list(each.shape) for each in response.outputs] == [shape for _, shape, _ in tensors]


described = st.fixed_dictionaries(
    {},
    optional={
        "name": names | anything,
        "datatype": datatypes | st.text(max_size=6) | anything,
        "shape": shapes | anything,
        "parameters": st.fixed_dictionaries(
            {}, optional={"binary_data_size": st.integers(-3, 60) | anything, "binary_data": anything}
        )
        | anything,
        "data": anything,
    },
)
heads = st.fixed_dictionaries(
    {},
    optional={
        "id": anything,
        "inputs": st.lists(described, max_size=3) | anything,
        "outputs": st.lists(described, max_size=2) | anything,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_output": anything}) | anything,
    },
)


@fuzzed
@given(
    head=heads,
    body=framed | st.binary(max_size=80),
    error=st.integers(-5, 5) | st.just(0) | st.integers(-(2**70), 2**70),
    coding=st.sampled_from(["identity", "gzip", "deflate", "br", ""]),
)
def test_no_framing_is_an_error_of_the_service(
    echo: Service, head: dict[str, Any], body: bytes, error: int, coding: str
) -> None:
    text = json.dumps(head).encode()
    headers = {"Inference-Header-Content-Length": str(len(text) + error), "Content-Encoding": coding}
    answer = infer(echo, text + body, **headers)
    assert answer.status_code in (200, 400, 413, 415), answer.text
    if answer.status_code != 200:
        assert set(answer.json()) == {"error"}


@st.composite
def messages(draw: st.DrawFn) -> pb.ModelInferRequest:
    """A message with contents that may fit, be missing, or lie."""
    message = pb.ModelInferRequest(model_name=draw(st.sampled_from(["echo", "", "other"])), id=draw(names))
    for _ in range(draw(st.integers(0, 3))):
        datatype = draw(datatypes | st.text(max_size=6))
        given_one = message.inputs.add(name=draw(names), datatype=datatype, shape=draw(shapes))
        if draw(st.booleans()):
            field = draw(st.sampled_from(sorted(set(FIELDS.values()))))
            values: Any = {"bytes_contents": st.binary(max_size=5), "bool_contents": st.booleans()}.get(
                field, st.floats(width=32) if field.startswith("fp") else st.integers(0, 2**31 - 1)
            )
            getattr(given_one.contents, field).extend(draw(st.lists(values, max_size=5)))
        if draw(st.booleans()):
            given_one.parameters[draw(names)].int64_param = draw(st.integers(-(2**63), 2**63 - 1))
    message.raw_input_contents.extend(draw(st.lists(framed | st.binary(max_size=40), max_size=3)))
    for _ in range(draw(st.integers(0, 2))):
        message.outputs.add(name=draw(names))
    return message


@fuzzed
@given(message=messages(), cut=st.integers(0, 400) | st.none(), flips=st.lists(st.integers(0, 3000), max_size=3))
def test_no_message_is_an_error_of_the_service(
    channel: grpc.Channel, message: pb.ModelInferRequest, cut: int | None, flips: list[int]
) -> None:
    data = bytearray(message.SerializeToString())[:cut]
    for place in flips if data else []:
        data[place // 8 % len(data)] ^= 1 << place % 8
    call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    code = call.future(bytes(data), timeout=REQUEST_TIMEOUT).code()
    assert code in (grpc.StatusCode.OK, *WRONG), (message, data)
