"""The Open Inference Protocol over gRPC, with Triton's client and with Triton's messages."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub
from tritonclient.utils import triton_to_np_dtype

from tests.service.conftest import Start
from tests.service.harness import REQUEST_TIMEOUT, Service, run
from tests.service.test_inference_protocol import VALUES
from tests.support.harness import reference

ROOT = Path(__file__).parents[2]

#: The fields of typed contents; FP16 has none.
FIELDS = {
    "BOOL": "bool_contents",
    **{f"INT{bits}": "int_contents" for bits in (8, 16, 32)},
    "INT64": "int64_contents",
    **{f"UINT{bits}": "uint_contents" for bits in (8, 16, 32)},
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def grpc_address(service: Service) -> str:
    """Return the address at which a service listens for gRPC."""
    return service.wait_for_line("Listening for gRPC at ").rpartition(" ")[2].rstrip(".")


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose model returns the tensors that it gets; the first test finds it before it is ready."""
    folder = tmp_path_factory.mktemp("echo")
    options = ("--port", "0", "--grpc-port", "0", "--max-body", "100000")
    with Service("serve", reference("tensors:Echo"), *options, cwd=folder) as service:
        yield service


@pytest.fixture(scope="module")
def channel(echo: Service) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(grpc_address(echo)) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(echo: Service, channel: grpc.Channel) -> Any:
    """Triton's own stub, for a model that is ready; before that, health and refusals are those of one that is not."""
    stub, health = GRPCInferenceServiceStub(channel), health_pb2_grpc.HealthStub(channel)
    watched = health.Watch(health_pb2.HealthCheckRequest())
    assert next(watched).status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert not stub.ServerReady(pb.ServerReadyRequest()).ready
    assert refused(stub, request(("a", "INT8", [1], b"\1")), grpc.StatusCode.UNAVAILABLE).startswith(
        "infer is not possible"
    )
    echo.make_ready()
    assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
    watched.cancel()
    return stub


def request(*inputs: tuple[str, str, list[int], bytes | None], **more: Any) -> pb.ModelInferRequest:
    """Return a request with raw contents where there are any."""
    found = pb.ModelInferRequest(**{"model_name": "echo", **more})
    for name, datatype, shape, raw in inputs:
        found.inputs.add(name=name, datatype=datatype, shape=shape)
        if raw is not None:
            found.raw_input_contents.append(raw)
    return found


def refused(stub: Any, message: Any, code: grpc.StatusCode, method: str = "ModelInfer") -> str:
    """Return the details of a call that has to fail with a code."""
    with pytest.raises(grpc.RpcError) as raised:
        getattr(stub, method)(message, timeout=REQUEST_TIMEOUT)
    assert raised.value.code() is code, raised.value
    return str(raised.value.details())


def test_server_and_model_say_what_they_are(stub: Any, channel: grpc.Channel) -> None:
    assert stub.ServerLive(pb.ServerLiveRequest()).live
    assert stub.ServerReady(pb.ServerReadyRequest()).ready
    assert stub.ModelReady(pb.ModelReadyRequest(name="echo", version="1")).ready
    assert stub.ServerMetadata(pb.ServerMetadataRequest()).name == "mistk-service"
    assert stub.ModelMetadata(pb.ModelMetadataRequest(name="echo")).versions == ["1"]
    for method, message in (("ModelReady", pb.ModelReadyRequest(name="x")), ("ModelInfer", request(model_name="x"))):
        assert "'x'" in refused(stub, message, grpc.StatusCode.NOT_FOUND, method)
    health = health_pb2_grpc.HealthStub(channel)
    named = health_pb2.HealthCheckRequest(service="inference.GRPCInferenceService")
    assert health.Check(named).status == health_pb2.HealthCheckResponse.SERVING
    unknown = health_pb2.HealthCheckRequest(service="x")
    assert "'x'" in refused(health, unknown, grpc.StatusCode.NOT_FOUND, "Check")
    assert next(health.Watch(unknown)).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def test_every_datatype_crosses_raw_and_typed(echo: Service, stub: Any) -> None:
    client = triton.InferenceServerClient(grpc_address(echo))
    for datatype, values in VALUES.items():
        texts = [value.encode() for value in values] if datatype == "BYTES" else values
        array = np.array(texts, dtype=triton_to_np_dtype(datatype))
        given_array = triton.InferInput("a", array.shape, datatype)
        given_array.set_data_from_numpy(array)
        assert client.infer("echo", [given_array]).as_numpy("a").tolist() == array.tolist()
        if datatype in FIELDS:
            typed = request(("a", datatype, [len(values)], None), id="mine")
            getattr(typed.inputs[0].contents, FIELDS[datatype]).extend(texts)
            answer = stub.ModelInfer(typed)
            assert (answer.id, answer.model_version, list(answer.raw_output_contents)) == ("mine", "1", [])
            assert list(getattr(answer.outputs[0].contents, FIELDS[datatype])) == array.tolist()
    client.close()


def test_a_request_that_is_wrong_is_refused_with_the_reason(echo: Service, stub: Any) -> None:
    typed = request(("a", "INT8", [1], None))
    typed.inputs[0].contents.int_contents.append(128)
    both = request(("a", "INT8", [1], b"\1"))
    both.inputs[0].contents.int_contents.append(1)
    for message, details in (
        (request(("a", "INT8", [2], b"\1")), "expected 2"),
        (request(("a", "INT8", [-1], b"\1")), "no valid shape"),
        (request(("a", "INT8", [1] * 33, b"\1")), "no valid shape"),
        (request(("a", "BF16", [1], b"\1\1")), "no datatype 'BF16'"),
        (request(("a", "FP16", [1], None)), "has to be raw"),
        (request(("a", "INT8", [1], None)), "0 elements"),
        (request(("a", "INT8", [1], b"\1"), ("b", "INT8", [1], None)), "all contents raw"),
        (request(("a", "INT8", [1], b"\1"), ("a", "INT8", [1], b"\1")), "same name"),
        (request(("a", "BYTES", [1], b"\5\0\0\0a")), "cut off"),
        (request(("then", "BYTES", [1], b"\6\0\0\0refuse")), "told to refuse"),
        (request(("a", "INT8", [1], b"\1"), outputs=[{"name": "b"}]), "no output 'b'"),
        (typed, "range of INT8"),
        (both, "all contents raw"),
    ):
        assert details in refused(stub, message, grpc.StatusCode.INVALID_ARGUMENT)
    failing = request(("then", "BYTES", [1], b"\5\0\0\0raise"))
    assert "told to raise" in refused(stub, failing, grpc.StatusCode.INTERNAL)
    failing = request(("then", "BYTES", [1], b"\20\0\0\0raise in Chinese"))
    assert "characters are left out" in refused(stub, failing, grpc.StatusCode.INTERNAL)
    refusing = request(("then", "BYTES", [1], b"\20\0\0\0refuse at length"))
    assert "characters are left out" in refused(stub, refusing, grpc.StatusCode.INVALID_ARGUMENT)
    too_large = request(("a", "INT8", [200_000], bytes(200_000)))
    refused(stub, too_large, grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert echo.status()["state"] == "ready"
    assert echo.metric("mistk_requests_total", door="grpc", operation="ModelInfer", status="INVALID_ARGUMENT") >= 13


def test_a_message_that_cannot_be_read_is_refused_by_every_method(
    echo: Service, stub: Any, channel: grpc.Channel
) -> None:
    infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    check, watch = (
        channel.unary_unary("/grpc.health.v1.Health/Check"),
        channel.unary_stream("/grpc.health.v1.Health/Watch"),
    )
    for call in (infer, check, lambda *arguments, **options: list(watch(*arguments, **options))):
        with pytest.raises(grpc.RpcError) as raised:
            call(b"\xff", timeout=REQUEST_TIMEOUT)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "The request is not a " in str(raised.value.details())
    assert "DecodeError" not in echo.output()


def test_a_port_that_is_taken_ends_the_service_with_the_reason(echo: Service, tmp_path: Path) -> None:
    port = grpc_address(echo).rpartition(":")[2]
    code, _, output = run("serve", reference("tensors:Echo"), "--port", "0", "--grpc-port", port, cwd=tmp_path)
    assert code != 0
    assert f"--grpc-port: cannot listen at 127.0.0.1:{port}" in output


def test_a_call_needs_a_log_in_where_requests_do(start: Start, tmp_path: Path) -> None:
    tokens = {
        role: run("token", "new", role, "--role", role, cwd=tmp_path)[1].strip() for role in ("viewer", "predictor")
    }
    service = start("--auth", "--access-log", "--grpc-port", "0", model=reference("tensors:Echo"))
    ready, infer = pb.ModelReadyRequest(name="echo"), request(("a", "INT8", [1], b"\1"))
    with grpc.insecure_channel(grpc_address(service)) as channel:
        stub = GRPCInferenceServiceStub(channel)

        def code(method: str, message: Any, token: str | None) -> grpc.StatusCode:
            metadata = () if token is None else (("authorization", f"Bearer {token}"),)
            return getattr(stub, method).future(message, metadata=metadata, timeout=REQUEST_TIMEOUT).code()

        assert code("ModelReady", ready, None) is grpc.StatusCode.UNAUTHENTICATED
        assert code("ModelInfer", infer, "wrong") is grpc.StatusCode.UNAUTHENTICATED
        assert code("ModelReady", ready, tokens["viewer"]) is grpc.StatusCode.OK
        assert code("ModelInfer", infer, tokens["viewer"]) is grpc.StatusCode.PERMISSION_DENIED
        assert code("ModelInfer", infer, tokens["predictor"]) is grpc.StatusCode.UNAVAILABLE
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert health.status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert "127.0.0.1 viewer RPC '/ModelInfer' PERMISSION_DENIED" in service.wait_for_line("PERMISSION_DENIED")


def test_a_health_watch_counts_as_an_open_watch(start: Start) -> None:
    service = start("--no-tracking", "--grpc-port", "0", "--max-watches", "2", model=reference("tensors:Echo"))
    with grpc.insecure_channel(grpc_address(service)) as channel, service.watch() as events:
        next(events)
        stub, message = health_pb2_grpc.HealthStub(channel), health_pb2.HealthCheckRequest()
        first = stub.Watch(message, timeout=REQUEST_TIMEOUT)
        assert next(first).status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.RpcError) as raised:
            next(stub.Watch(message, timeout=REQUEST_TIMEOUT))
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "--max-watches" in str(raised.value.details())


def test_the_generated_code_is_what_the_contract_says(tmp_path: Path) -> None:
    command = ["-m", "grpc_tools.protoc", "-I", str(ROOT / "api"), f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    subprocess.run([sys.executable, *command, "open_inference.proto"], check=True, timeout=60)
    for made in tmp_path.iterdir():
        assert (ROOT / "mistk_service" / "doors" / "grpc" / made.name).read_text() == made.read_text(), (
            "run `make grpc`"
        )
