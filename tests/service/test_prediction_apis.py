"""One digits container and all its prediction APIs, each with a client of others or with plain HTTP.

OpenAI's client asks for text, which digits do not generate: see test_generation.py.
"""

from __future__ import annotations

import base64
import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from mistk_service.client import ModelClient
from tests.service.conftest import Start
from tests.service.harness import Service
from tests.service.test_grpc import grpc_address
from tests.support.harness import reference
from tests.support.preloaded import run_python

DIGITS = str(Path(__file__).parents[2] / "plugins" / "digits" / "model.py") + ":Digits"

PIXELS = np.random.default_rng(0).integers(0, 17, (5, 64)).astype(np.float32)
ROWS: list[list[float]] = PIXELS.tolist()

ROUTES = {"AIP_HEALTH_ROUTE": "/health", "AIP_PREDICT_ROUTE": "/v1/endpoints/1/deployedModels/2:predict"}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of the digits model, ready to predict; the tests leave it as it is."""
    folder = tmp_path_factory.mktemp("digits")
    with Service(
        "serve", DIGITS, "--port", "0", "--max-body", "1000000", "--grpc-port", "0", cwd=folder, env=ROUTES
    ) as service:
        for path in ("/ping", "/health", "/v1/models/digits"):
            response = service.api.get(f"{service.url}{path}")
            assert response.status_code == 503, path
            assert "state is started" in response.text
        with triton.InferenceServerClient(http_address(service)) as client:
            assert client.is_server_live()
            assert not client.is_server_ready()
            assert not client.is_model_ready("digits")
        service.make_ready(seed=1)
        yield service


def http_address(service: Service) -> str:
    return service.url.removeprefix("http://")


@pytest.fixture(scope="module")
def expected(digits: Service) -> list[dict[str, Any]]:
    """What MISTK's own API answers for the images."""
    records = {str(number): base64.b64encode(row.tobytes()).decode() for number, row in enumerate(PIXELS)}
    with ModelClient(digits.url) as client:
        answer = client.stream_predict(records)
    return [answer[str(number)] for number in range(len(PIXELS))]


def post(service: Service, path: str, body: Any, kind: str = "application/json", **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return service.api.post(f"{service.url}{path}", content=content, headers={"Content-Type": kind, **headers})


def answered(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()


def test_every_client_gets_the_same_predictions(digits: Service, expected: list[dict[str, Any]]) -> None:
    found = {
        "curl": with_curl(digits),
        "tritonclient.http": with_triton(triton, http_address(digits)),
        "tritonclient.grpc": with_triton(triton_grpc, grpc_address(digits)),
        **with_mlflow(digits),
    }
    assert found == dict.fromkeys(found, expected)


def with_curl(service: Service) -> Any:
    url, body = f"{service.url}/v1/models/digits:predict", json.dumps({"instances": ROWS})
    answer = subprocess.run(["curl", "-fsS", url, "-d", body], capture_output=True, check=True, timeout=60).stdout
    return json.loads(answer)["predictions"]


def with_triton(module: Any, address: str) -> list[dict[str, Any]]:
    """Ask with one of Triton's clients, which sends and wants binary tensors by default."""
    with module.InferenceServerClient(address) as client:
        pixels = module.InferInput("pixels", PIXELS.shape, "FP32")
        pixels.set_data_from_numpy(PIXELS)
        result = client.infer("digits", [pixels])
    pairs = zip(*(result.as_numpy(name).tolist() for name in ("label", "confidence")), strict=True)
    return [{"label": label, "confidence": confidence} for label, confidence in pairs]


def with_mlflow(service: Service) -> dict[str, Any]:
    """Ask with MLflow's client in a process of its own, since it warns of much that it does itself."""
    code = (
        "import json, sys\n"
        "import numpy as np, pandas as pd\n"
        "from mlflow.pyfunc.scoring_server.client import ScoringServerClient\n"
        "client = ScoringServerClient('127.0.0.1', int(sys.argv[1]))\n"
        "client.wait_server_ready(timeout=30)\n"
        "pixels = np.array(json.loads(sys.argv[2]), np.float32)\n"
        "answers = {type(data).__name__: client.invoke(data).get_predictions() for data in (pd.DataFrame(pixels), pixels)}\n"
        "print(json.dumps({name: answer.to_dict('records') for name, answer in answers.items()}))\n"
    )
    output = run_python("-c", code, str(service.port), json.dumps(ROWS), loaded="mlflow")
    answers: dict[str, Any] = json.loads(output.splitlines()[-1])
    return answers


def test_tritons_clients_ask_what_the_model_is_and_choose_its_form(
    digits: Service, expected: list[dict[str, Any]]
) -> None:
    with triton_grpc.InferenceServerClient(grpc_address(digits)) as client:
        assert client.is_server_ready()
        assert client.get_model_metadata("digits").inputs[0].shape == [-1, 64]
    with triton.InferenceServerClient(http_address(digits)) as client:
        assert client.is_server_ready()
        assert client.is_model_ready("digits", "1")
        described = client.get_model_metadata("digits")
        assert described["inputs"] == [{"name": "pixels", "datatype": "FP32", "shape": [-1, 64]}]
        pixels = triton.InferInput("pixels", PIXELS.shape, "FP32")
        pixels.set_data_from_numpy(PIXELS, binary_data=False)
        label = triton.InferRequestedOutput("label", binary_data=False)
        result = client.infer("digits", [pixels], outputs=[label], request_id="mine")
        assert result.get_response()["id"] == "mine"
        assert result.as_numpy("label").tolist() == [each["label"] for each in expected]
        with pytest.raises(InferenceServerException, match="unknown"):
            client.infer("unknown", [pixels])
        wrong = triton.InferInput("pixels", (1, 63), "FP32")
        wrong.set_data_from_numpy(PIXELS[:1, :63])
        with pytest.raises(InferenceServerException, match=r"shape is \[1, 63\]; expected \[-1, 64\]"):
            client.infer("digits", [wrong])
    # A raw body, whose tensor is the only input.
    raw = {"Inference-Header-Content-Length": "0"}
    response = post(digits, "/v2/models/digits/infer", PIXELS[0].tobytes(), "application/octet-stream", **raw)
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.status_code == 200


def test_models_and_their_inputs_have_names(digits: Service, expected: list[dict[str, Any]]) -> None:
    by_name = {"instances": [{"pixels": row} for row in ROWS]}
    assert answered(post(digits, "/v1/models/digits:predict", by_name)) == {"predictions": expected}
    assert answered(digits.api.get(f"{digits.url}/v1/models"))["models"] == ["digits"]
    assert answered(digits.api.get(f"{digits.url}/v1/models/digits")) == {"name": "digits", "ready": True}


def test_every_form_of_mlflows_json_is_taken(digits: Service, expected: list[dict[str, Any]]) -> None:
    columns = [f"pixel{index}" for index in range(64)]
    for body in (
        {"dataframe_split": {"columns": columns, "index": list(range(5)), "data": ROWS}},
        {"dataframe_split": {"data": ROWS}},
        {"dataframe_records": [dict(zip(columns, row, strict=True)) for row in ROWS]},
        {"instances": ROWS},
        {"inputs": ROWS},
        {"inputs": {"pixels": ROWS}, "params": {}},
    ):
        assert answered(post(digits, "/invocations", body)) == {"predictions": expected}


def test_tables_and_arrays_are_taken_and_given_as_sagemaker_has_them(
    digits: Service, expected: list[dict[str, Any]]
) -> None:
    import pandas as pd

    frame = pd.DataFrame(PIXELS, columns=[f"pixel{index}" for index in range(64)])
    plain = frame.to_csv(index=False, header=False).encode()
    for body, kind in (
        (frame.to_csv(index=False).encode(), "text/csv"),
        (plain, "text/csv; charset=utf-8"),
        (b",".join(b"%d" % index for index in range(64)) + b"\n" + plain, "text/csv;header=present"),
        (frame.to_parquet(), "application/vnd.apache.parquet"),
    ):
        assert answered(post(digits, "/invocations", body, kind)) == {"predictions": expected}
    assert answered(post(digits, "/invocations", ROWS)) == expected
    for array in (PIXELS, PIXELS.astype(np.float64), np.asfortranarray(PIXELS)):
        assert answered(post(digits, "/invocations", npy(array), "application/x-npy")) == expected
    buffer = io.BytesIO()
    np.savez_compressed(buffer, pixels=PIXELS)
    assert answered(post(digits, "/invocations", buffer.getvalue(), "application/x-npz")) == expected
    text = post(digits, "/invocations", plain, "text/csv", Accept="text/csv")
    assert text.headers["content-type"].startswith("text/csv")
    lines = [line.split(",") for line in text.text.splitlines()]
    assert [{"label": int(label), "confidence": float(confidence)} for label, confidence in lines] == expected
    limits = answered(digits.api.get(f"{digits.url}/execution-parameters"))
    assert limits == {"MaxConcurrentTransforms": 64, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 1}


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_vertex_finds_its_routes(digits: Service, expected: list[dict[str, Any]]) -> None:
    assert answered(digits.api.get(f"{digits.url}/health"))["ready"]
    body = {"instances": ROWS, "parameters": None}
    assert answered(post(digits, ROUTES["AIP_PREDICT_ROUTE"], body)) == {"predictions": expected}
    assert digits.metric("mistk_requests_total", door="vertex", status="200") >= 2


#: Bodies that no door takes, with their types, and what the refusal says. For SageMaker and MLflow.
WRONG = [
    ({"instances": ROWS, "inputs": ROWS}, "application/json", 400, "exactly one"),
    ({}, "application/json", 400, "0 of the keys"),
    (b"{", "application/json", 400, "not the JSON"),
    (b"\xff", "application/json", 400, "not the JSON"),
    ({"instances": {"pixels": ROWS}}, "application/json", 400, "not a list"),
    ({"instances": ROWS, "params": {"a": 1}}, "application/json", 400, "params"),
    ({"instances": [[1] * 64, [1] * 63]}, "application/json", 400, "ragged"),
    ({"instances": [[1] * 63]}, "application/json", 400, "shape"),
    ({"instances": [[None] * 64]}, "application/json", 400, "FP32"),
    ({"instances": [["1"] * 64]}, "application/json", 400, "FP32"),
    ({"instances": [{"pixels": [1] * 64}, {}]}, "application/json", 400, "same keys"),
    ({"inputs": {"pixels": ROWS, "other": ROWS}}, "application/json", 400, "no such input"),
    ({"inputs": {"pixels": 1}}, "application/json", 400, "not a list"),
    ({"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}, "application/json", 400, "one value for each column"),
    ({"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}, "application/json", 400, "same name"),
    ({"dataframe_split": []}, "application/json", 400, "dataframe_split"),
    (b"1,2\n3\n", "text/csv", 400, "lengths"),
    (b'"1', "text/csv", 400, "CSV"),
    (b"\xff", "text/csv", 400, "CSV"),
    (b"a,b\n" + b"x," * 63 + b"y\n", "text/csv", 400, "lengths"),
    (npy(PIXELS)[:-1], "application/x-npy", 400, "x-npy"),
    (npy(PIXELS) + b"x", "application/x-npy", 400, "x-npy"),
    (npy(np.zeros((1, 64), "c8")), "application/x-npy", 400, "cannot be tensors"),
    (npy(PIXELS[:, :63]), "application/x-npy", 400, "shape"),
    (b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"9" * 90, "application/x-npy", 400, ""),
    (b"PK", "application/x-npz", 400, "x-npz"),
    (b"PAR1", "application/vnd.apache.parquet", 400, "Parquet"),
    (b"", "application/x-image", 415, "text/csv"),
    ({"instances": ROWS}, "application/json; charset=latin-1", 415, "UTF-8"),
    (b" " * 1_000_001, "application/json", 413, "1000000"),
]  # fmt: skip


def test_a_wrong_body_is_refused_in_mlflows_form(digits: Service) -> None:
    for body, kind, status, message in WRONG:
        response = post(digits, "/invocations", body, kind)
        assert response.status_code == status, (body, response.text)
        error = response.json()
        assert error["error_code"] == "BAD_REQUEST"
        assert message in error["message"], error
    response = post(digits, "/invocations", {"instances": ROWS}, Accept="image/png")
    assert response.status_code == 406
    assert post(digits, "/invocations", {"instances": ROWS}, Accept="application/x-npy").status_code == 406
    assert digits.status()["state"] == "ready"


def test_a_wrong_request_is_refused_in_kserves_form(digits: Service) -> None:
    for path, body, status, message in (
        ("/v1/models/other:predict", {"instances": ROWS}, 404, "'other'"),
        ("/v1/models/digits:predict", {"inputs": ROWS}, 400, "instances"),
        ("/v1/models/digits:predict", {"instances": ROWS, "parameters": {"a": 1}}, 400, "parameters"),
        ("/v1/models/digits:predict", {"instances": 1}, 400, "instances"),
    ):
        response = post(digits, path, body)
        assert response.status_code == status, response.text
        assert message in response.json()["error"]


@pytest.mark.parametrize(
    ("model", "rows", "message"),
    [
        ("tensors:Echo", [{"then": "shorten"}, {"then": ""}], "do_infer returned 1 values of a; expected 2"),
        ("batching:OneAtATime", ["forgotten", "b", "c"], "do_stream_predict returned 2 predictions; expected 3"),
    ],
)
def test_a_model_that_does_not_predict_for_each_row_fails(
    start: Start, model: str, rows: list[Any], message: str
) -> None:
    service = start("--model-name", "m", model=reference(model), env=ROUTES)
    service.make_ready()
    for path in ("/v1/models/m:predict", "/invocations", ROUTES["AIP_PREDICT_ROUTE"]):
        response = post(service, path, {"instances": rows})
        assert (response.status_code, message in response.text) == (500, True), response.text
        assert len(answered(post(service, path, {"instances": rows[1:]}))["predictions"]) == len(rows) - 1


def test_a_model_of_arrays_need_not_predict_for_each_row(start: Start) -> None:
    service = start(model=reference("tensors:Echo"))
    service.make_ready()
    buffer = io.BytesIO()
    np.savez(buffer, then=np.array([b"shorten", b"", b""]), other=np.zeros(3))
    assert answered(post(service, "/invocations", buffer.getvalue(), "application/x-npz")) == ["", ""]
