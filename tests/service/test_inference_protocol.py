"""The Open Inference Protocol over REST, with Triton's client and with plain HTTP."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import triton_to_np_dtype

from tests.service.conftest import Start
from tests.service.harness import Service
from tests.support.harness import reference

#: The data types of the protocol, with values at their limits.
VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False],
    **{f"INT{bits}": [-(2 ** (bits - 1)), 0, 2 ** (bits - 1) - 1] for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": [0, 1, 2**bits - 1] for bits in (8, 16, 32, 64)},
    "FP16": [0.5, -65504.0],
    "FP32": [0.5, -(2.0**127)],
    "FP64": [0.1, -1e308],
    "BYTES": ["", "é☃", "a" * 300],
}


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose model returns the tensors that it gets; the tests of this file leave it as it is."""
    with Service(
        "serve", reference("tensors:Echo"), "--port", "0", "--max-body", "4000000", cwd=tmp_path_factory.mktemp("echo")
    ) as service:
        service.make_ready()
        yield service


def infer(service: Service, body: Any, model: str = "echo", **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return service.api.post(f"{service.url}/v2/models/{model}/infer", content=content, headers=headers)


def refused(response: httpx.Response, status: int) -> str:
    """Return the message of an error, which has the protocol's form."""
    assert response.status_code == status, response.text
    ((key, message),) = response.json().items()
    assert key == "error"
    return str(message)


def tensor(name: str, datatype: str, shape: list[int], **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, **more}


def test_every_datatype_crosses_in_json_and_as_bytes(echo: Service) -> None:
    client = triton.InferenceServerClient(echo.url.removeprefix("http://"))
    for datatype, values in VALUES.items():
        given_values = [values, [values[0]] * len(values)]
        inputs = [tensor("a", datatype, [2, len(values)], data=given_values), tensor("empty", datatype, [0], data=[])]
        outputs = infer(echo, {"inputs": inputs}).json()["outputs"]
        assert outputs[0] == tensor("a", datatype, [2, len(values)], data=[*given_values[0], *given_values[1]])
        assert outputs[1] == tensor("empty", datatype, [0], data=[])
        texts = [value.encode() for value in values] if datatype == "BYTES" else values
        array = np.array(texts, dtype=triton_to_np_dtype(datatype))
        one = triton.InferInput("a", array.shape, datatype)
        one.set_data_from_numpy(array)
        assert client.infer("echo", [one]).as_numpy("a").tolist() == array.tolist()
    client.close()


def test_outputs_are_chosen_by_name_and_form(echo: Service) -> None:
    inputs = [tensor("a", "INT8", [2], data=[1, 2]), tensor("b", "FP32", [1], data=[3])]
    answer = infer(echo, {"inputs": inputs, "outputs": [{"name": "b"}]})
    only = answer.json()
    assert [output["name"] for output in only["outputs"]] == ["b"]
    assert only["id"] == answer.headers["x-request-id"], "a request without an id has that of the log"
    mixed = infer(
        echo,
        {
            "inputs": inputs,
            "parameters": {"binary_data_output": True},
            "outputs": [{"name": "a"}, {"name": "b", "parameters": {"binary_data": False}}],
        },
    )
    length = int(mixed.headers["inference-header-content-length"])
    outputs = json.loads(mixed.content[:length])["outputs"]
    assert outputs[0] == tensor("a", "INT8", [2], parameters={"binary_data_size": 2})
    assert outputs[1] == tensor("b", "FP32", [1], data=[3.0])
    assert mixed.content[length:] == b"\1\2"
    assert "no output 'c'" in refused(infer(echo, {"inputs": inputs, "outputs": [{"name": "c"}]}), 400)


WRONG = [
    ({}, "inputs"),
    ({"inputs": [tensor("a", "INT8", [2], data=[1])]}, "has 1 elements; expected 2"),
    ({"inputs": [tensor("a", "INT8", [1], data=[128])]}, "beyond the range of INT8"),
    ({"inputs": [tensor("a", "FP32", [1], data=[1e39])]}, "beyond the range of FP32"),
    ({"inputs": [tensor("a", "INT8", [1], data=["1"])]}, "not an array of INT8"),
    ({"inputs": [tensor("a", "BOOL", [1], data=[1])]}, "not an array of BOOL"),
    ({"inputs": [tensor("a", "INT8", [2], data=[1, [2]])]}, "mixes"),
    ({"inputs": [tensor("a", "INT8", [1])]}, "no data"),
    ({"inputs": [tensor("a", "INT8", [-1], data=[1])]}, ">= 0"),
    ({"inputs": [tensor("a", "INT8", [1] * 33, data=[1])]}, "length"),
    ({"inputs": [tensor("a", "BF16", [1], data=[1])]}, "no datatype 'BF16'"),
    ({"inputs": [tensor("a", "INT8", [1], data=[1])] * 2}, "same name"),
    ({"inputs": [tensor("a", "INT8", [10**30], data=[1])]}, "inference request"),
    ({"inputs": [tensor("a", "BOOL", [2**62, 0], data=[])]}, "too large"),
    ({"inputs": [tensor("a", "INT8", [1], data=[1])], "outputs": [{"name": "a"}] * 2}, "outputs: two"),
    ({"inputs": [tensor("a", "INT8", [1], data=[1], parameters={"binary_data_size": 0})]}, "no data in JSON"),
    (b'{"inputs": [{"name": "a", "datatype": "BYTES", "shape": [1], "data": ["\xff"]}]}', "not JSON"),
    (b'{"inputs": [{"name": "a", "datatype": "FP32", "shape": [1], "data": ["\xff"]}]}', "not JSON"),
    (b"{", "inference request"),
    (b"\xff", "inference request"),
    (b"[" * 200, "nested"),
    (b'{"inputs": [{"data": [' + b"[]," * 1_100_000 + b"[]]}]}", "binary"),
]


def test_a_request_that_is_wrong_is_refused_with_the_reason(echo: Service) -> None:
    for body, message in WRONG:
        assert message in refused(infer(echo, body), 400)
    assert echo.status()["state"] == "ready"


BINARY_WRONG = [
    ("x", b"", 0, "is not the length"),
    ("9" * 30, b"", 0, "is not the length"),
    (None, b"\1", 2, "1 bytes are left"),
    (None, b"\1\2\3", 2, "1 bytes follow"),
    (None, b"\1", 1, "expected 2"),
    (None, b"\1\2", -1, "binary_data_size is -1"),
]


def test_lengths_that_lie_are_refused(echo: Service) -> None:
    for header, raw, size, message in BINARY_WRONG:
        text = json.dumps({"inputs": [tensor("a", "INT8", [2], parameters={"binary_data_size": size})]}).encode()
        length = str(len(text)) if header is None else header
        assert message in refused(infer(echo, text + raw, **{"Inference-Header-Content-Length": length}), 400)


def test_what_json_cannot_express_has_to_be_asked_for_as_bytes(echo: Service) -> None:
    cases = ((np.array([np.nan], "<f4"), "FP32"), (np.array([-np.inf]), "FP64"), (np.zeros(1_000_001, "i1"), "INT8"))
    for values, datatype in cases:
        raw = values.tobytes()
        inputs = [tensor("a", datatype, [len(values)], parameters={"binary_data_size": len(raw)})]
        for binary in (False, True):
            text = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": binary}}).encode()
            response = infer(echo, text + raw, **{"Inference-Header-Content-Length": str(len(text))})
            if binary:
                assert response.content.endswith(raw)
            else:
                assert "request for binary data" in refused(response, 400)


def test_a_body_over_the_limit_is_refused_in_the_form_of_the_protocol(echo: Service) -> None:
    assert refused(infer(echo, b"x" * 4_000_001), 413)


def test_byte_strings_that_are_cut_off_are_refused(echo: Service) -> None:
    for raw in (b"\5\0\0\0abcd", b"\1\0\0", struct.pack("<I", 2**32 - 1) + b"a"):
        text = json.dumps({"inputs": [tensor("a", "BYTES", [1], parameters={"binary_data_size": len(raw)})]}).encode()
        response = infer(echo, text + raw, **{"Inference-Header-Content-Length": str(len(text))})
        assert "cut off" in refused(response, 400)


def test_a_state_that_cannot_predict_and_a_class_without_the_hook_are_distinguished(start: Start) -> None:
    body = {"inputs": [tensor("a", "INT8", [1], data=[1])]}
    fresh = start(model=reference("tensors:Echo"))
    assert refused(infer(fresh, body), 503) == "infer is not possible in the state started; nothing is running."
    index = f"{fresh.url}/v2/repository/index"
    entry = {"name": "echo", "version": "1", "state": "UNAVAILABLE", "reason": "The state is started."}
    assert fresh.api.post(index).json() == [entry]
    assert fresh.api.post(index, json={"ready": True}).json() == []
    assert refused(fresh.api.get(f"{fresh.url}/v2/health/ready"), 503)
    without = start(model=reference("in_parts:InParts"))
    without.make_ready()
    assert "no do_infer" in refused(infer(without, body, "in_parts"), 400)
    assert "neither do_infer nor" in refused(without.api.get(f"{without.url}/v2/health/ready"), 503)
    assert refused(infer(without, body), 404)
    assert refused(without.api.get(f"{without.url}/v2/models/in_parts/versions/2"), 404)


def test_an_error_of_the_model_fails_its_request_alone(echo: Service) -> None:
    for then, status, message in (
        ("raise", 500, "told to raise"),
        ("refuse", 400, "told to refuse"),
        ("list", 500, "dict"),
        ("write", 500, "read-only"),
        ("odd", 500, "data type"),
    ):
        body = {"inputs": [tensor("then", "BYTES", [1], data=[then])]}
        assert message in refused(infer(echo, body), status)
    assert echo.status()["state"] == "ready"


def test_outputs_that_are_not_as_declared_fail_at_every_api(start: Start) -> None:
    service = start(model=reference("tensors:Declaring"))
    service.make_ready()
    (output,) = service.api.get(f"{service.url}/v2/models/declaring").json()["outputs"]
    right = tensor("a", "FP64", [1, 2], data=[1, 2])
    (returned,) = infer(service, {"inputs": [right]}, "declaring").json()["outputs"]
    assert returned == tensor("a", output["datatype"], [1, 2], data=[1, 2])
    for name, shape, message in (
        ("a", [1, 3], "a: the hook returned the shape [1, 3]; expected float32 [-1, 2]"),
        ("b", [1, 2], "a: the hook did not return it; expected float32 [-1, 2]"),
    ):
        values = [float(number) for number in range(shape[1])]
        assert message in refused(
            infer(service, {"inputs": [tensor(name, "FP64", shape, data=values)]}, "declaring"), 500
        )
        for path in ("/v1/models/declaring:predict", "/invocations"):
            response = service.api.post(service.url + path, json={"instances": [{name: values}]})
            assert (response.status_code, message in response.text) == (500, True), response.text
    assert service.status()["state"] == "ready"


def test_the_model_has_the_name_and_the_version_that_the_operator_gives_it(start: Start) -> None:
    service = start("--model-name", "greyhound", "--model-version", "7", model=reference("tensors:Echo"))
    service.make_ready()
    body = {"inputs": [tensor("a", "INT8", [1], data=[1])]}
    answer = infer(service, body, "greyhound").json()
    assert (answer["model_name"], answer["model_version"]) == ("greyhound", "7")
    assert infer(service, body, "greyhound/versions/7").status_code == 200
    assert "expected 'greyhound', version 7" in refused(infer(service, body, "greyhound/versions/1"), 404)
    assert refused(infer(service, body), 404)
    assert service.api.get(f"{service.url}/v2/models").json() == {"models": ["greyhound"]}


def test_statistics_and_index_say_what_has_happened(echo: Service) -> None:
    client = triton.InferenceServerClient(echo.url.removeprefix("http://"))
    (before,) = client.get_inference_statistics("echo", "1")["model_stats"]
    for length in (3, 2):
        assert infer(echo, {"inputs": [tensor("a", "INT8", [length], data=[1] * length)]}).status_code == 200
    assert infer(echo, {}).status_code == 400
    (after,) = client.get_inference_statistics("echo", "1")["model_stats"]
    assert client.get_inference_statistics() == {"model_stats": [after]}
    assert client.get_model_repository_index() == [{"name": "echo", "version": "1", "state": "READY", "reason": ""}]
    client.close()
    assert after["inference_count"] == before["inference_count"] + 5
    assert after["execution_count"] == before["execution_count"] + 2
    assert after["last_inference"] > 0
    added = {
        name: each["count"] - before["inference_stats"][name]["count"]
        for name, each in after["inference_stats"].items()
    }
    stages = ("compute_input", "compute_infer", "compute_output")
    assert added == dict.fromkeys(added, 0) | dict.fromkeys(stages, 2) | {"success": 2, "fail": 1}
    parts = sum(after["inference_stats"][stage]["ns"] for stage in stages)
    assert 0 < parts <= after["inference_stats"]["success"]["ns"]
    assert "'other'" in refused(echo.api.get(f"{echo.url}/v2/models/other/stats"), 404)
    assert "true or false" in refused(echo.api.post(f"{echo.url}/v2/repository/index", json={"ready": 1}), 400)


def test_compressed_bodies_are_taken_within_the_limit(echo: Service) -> None:
    client = triton.InferenceServerClient(echo.url.removeprefix("http://"))
    values = np.arange(1000, dtype=np.int32)
    given_values = triton.InferInput("a", values.shape, "INT32")
    given_values.set_data_from_numpy(values)
    for algorithm in ("gzip", "deflate"):
        result = client.infer("echo", [given_values], request_compression_algorithm=algorithm)
        assert result.as_numpy("a").tolist() == values.tolist()
    client.close()
    for content, coding, status, message in (
        (gzip.compress(b" " * 4_000_001), "gzip", 413, "4000000 bytes"),
        (gzip.compress(b"{}")[:-1], "gzip", 400, "cut off"),
        (gzip.compress(b"{}") + b"x", "gzip", 400, "follows"),
        (b"{}", "gzip", 400, "decompressed"),
        (b"{}", "br", 415, "gzip or deflate"),
    ):
        assert message in refused(infer(echo, content, **{"Content-Encoding": coding}), status)


def test_no_refusal_names_the_operations_of_another_api(echo: Service) -> None:
    messages = [
        refused(infer(echo, {"inputs": [tensor("then", "BYTES", [1], data=["raise"])]}), 500),
        refused(echo.api.get(f"{echo.url}/v2/nothing"), 404),
        refused(echo.api.get(f"{echo.url}/v2/models/echo/infer"), 405),
    ]
    assert not [each for each in messages if "streamPredict" in each or "/v1/mistk" in each]


def test_requests_are_counted_with_the_name_of_the_api(echo: Service) -> None:
    def counts() -> list[float]:
        found = (("infer", "200"), ("infer", "400"), ("other", "404"))
        return [
            echo.metric("mistk_requests_total", door="inference", operation=operation, status=status)
            for operation, status in found
        ]

    before = counts()
    infer(echo, {"inputs": []})
    infer(echo, {}, "echo/versions/1")
    for path in ("models/echo/versions/1/infer/x", "models/nothing"):
        echo.api.get(f"{echo.url}/v2/{path}")
    assert [after - count for after, count in zip(counts(), before, strict=True)] == [1, 1, 2]
    assert echo.metric("mistk_requests_total", door="mistk", operation="initialize", status="200") == 1
