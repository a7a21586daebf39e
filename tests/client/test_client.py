"""Every operation sends what the contract requires, and every response becomes a value or an error."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import httpx
import pytest
import yaml

from mistk_service import MistkDataset, ObjectInfo, Objective
from mistk_service.client import ModelClient, OrchestratorClient
from mistk_service.errors import (
    AnswerNotUnderstood,
    ClientError,
    InvalidRequest,
    MistkError,
    RequestFailed,
    RequestRefused,
    ServiceUnreachable,
)
from mistk_service.kinds.model.operations import OPERATIONS
from mistk_service.kinds.model.states import State
from mistk_service.resources import contract_path

# method of the client, its arguments, and what is to be sent: path, query, body
CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any], str, dict[str, str], Any]] = [
    (
        "initialize",
        (["train", Objective.PREDICTION], {"classes": 10}, {"rate": 0.1}),
        {},
        "initialize",
        {},
        {"objectives": ["train", "prediction"], "modelProperties": {"classes": 10}, "hyperparameters": {"rate": 0.1}},
    ),
    (
        "initialize",
        ("training",),
        {},
        "initialize",
        {},
        {"objectives": ["training"], "modelProperties": {}, "hyperparameters": {}},
    ),
    (
        "load_data",
        (),
        {
            "train": MistkDataset(object_info=ObjectInfo(name="a"), data_path="/d/a", format="csv"),
            "test": PurePosixPath("/d/b.npz"),
            "generate": "/d/c",
        },
        "loadData",
        {},
        {
            "train": {"objectInfo": {"name": "a"}, "dataPath": "/d/a", "format": "csv"},
            "test": {"objectInfo": {"name": "b.npz", "kind": "MistkDataset"}, "dataPath": "/d/b.npz"},
            "generate": {"objectInfo": {"name": "c", "kind": "MistkDataset"}, "dataPath": "/d/c"},
        },
    ),
    ("load_data", (), {}, "loadData", {}, {}),
    ("build_model", (), {}, "buildModel", {}, None),
    ("build_model", (PurePosixPath("/m/ö & co"),), {}, "buildModel", {"modelPath": "/m/ö & co"}, None),
    ("build_ensemble", (), {}, "buildEnsemble", {}, None),
    (
        "build_ensemble",
        ({"a": PurePosixPath("/m/a")}, "/e"),
        {},
        "buildEnsemble",
        {"ensemblePath": "/e"},
        {"a": "/m/a"},
    ),
    ("train", (), {}, "train", {}, None),
    ("miniaturize", ("/s",), {}, "miniaturize", {"dataPath": "/s", "includeHalfPrecision": "false"}, None),
    (
        "miniaturize",
        ("/s",),
        {"half_precision": True},
        "miniaturize",
        {"dataPath": "/s", "includeHalfPrecision": "true"},
        None,
    ),
    ("save_model", ("/m",), {}, "saveModel", {"modelPath": "/m"}, None),
    ("predict", (), {}, "predict", {}, None),
    ("update_stream_properties", ({"threshold": 0.5},), {}, "updateStreamProperties", {}, {"threshold": 0.5}),
    ("save_predictions", ("/p",), {}, "savePredictions", {"dataPath": "/p"}, None),
    ("generate", (), {}, "generate", {}, None),
    (
        "evaluate",
        ("Regression", PurePosixPath("/t")),
        {"output": "/o"},
        "evaluate",
        {},
        {
            "assessment_type": "Regression",
            "metrics": [],
            "ground_truth_path": "/t",
            "evaluation_path": "/o",
            "properties": {},
        },
    ),
    ("save_generations", ("/g",), {}, "saveGenerations", {"dataPath": "/g"}, None),
    ("pause", (), {}, "pause", {}, None),
    ("resume_training", (), {}, "resumeTraining", {}, None),
    ("resume_predict", (), {}, "resumePredict", {}, None),
    ("reset", (), {}, "reset", {}, None),
    ("shutdown", (), {}, "shutdown", {}, None),
]


#: The operations whose answer is not a status.
STREAMS = {"streamPredict", "streamPredict/source", "streamPredict/source/cancel"}

# --- operations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "args", "kwargs", "path", "query", "body"), CALLS)
def test_an_operation_sends_what_the_contract_says(
    client: ModelClient,
    service: Any,
    status: Callable[..., dict[str, Any]],
    method: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    path: str,
    query: dict[str, str],
    body: Any,
):
    service.will(httpx.Response(200, json=status("training", 7)))
    answer = getattr(client, method)(*args, **kwargs)
    assert (answer.state, answer.resource_version) == (State.TRAINING, 7)
    [request] = service.requests
    assert request.method == "POST"
    assert request.url.path == f"/v1/mistk/{path}"
    assert dict(request.url.params) == query
    assert (json.loads(request.content) if request.content else None) == body
    if body is not None:
        assert request.headers["content-type"] == "application/json"


def test_there_is_a_method_for_every_operation_of_the_contract():
    assert {call[3] for call in CALLS} | STREAMS == set(OPERATIONS)


def test_every_query_parameter_that_is_sent_is_one_of_the_contract():
    paths = yaml.safe_load(contract_path().read_text(encoding="utf-8"))["paths"]
    for _, _, _, path, query, _ in CALLS:
        declared = {p["name"] for p in paths[f"/{path}"]["post"].get("parameters", []) if p["in"] == "query"}
        assert set(query) <= declared, path


def test_predictions_for_a_source_are_yielded_and_an_error_in_the_middle_is_raised(client: ModelClient, service: Any):
    lines = b' {"eventType":"added","payload":{"a":1}}\n  {"eventType":"added","payload":{"b":2}}\n'
    service.will(httpx.Response(200, content=lines + b'{"error":{"code":500,"message":"It broke."}}\n'))
    predictions = client.stream_predict_source(PurePosixPath("/data"), "csv", {"rate": 1})
    assert [next(predictions), next(predictions)] == [{"a": 1}, {"b": 2}]
    with pytest.raises(RequestFailed, match="It broke"):
        next(predictions)
    [request] = service.requests
    assert (request.method, dict(request.url.params)) == ("POST", {"source": "/data", "format": "csv"})
    assert json.loads(request.content) == {"rate": 1}


def test_a_refused_source_and_a_cancel(client: ModelClient, service: Any):
    refusal = {"code": 400, "message": "There is no such source.", "field": "source"}
    service.will(httpx.Response(400, json=refusal), httpx.Response(204))
    with pytest.raises(RequestRefused, match="no such source"):
        next(client.stream_predict_source("nowhere"))
    assert client.cancel_stream_predict_source() is None
    assert [request.method for request in service.requests] == ["POST", "DELETE"]


def test_records_of_bytes_are_encoded_and_texts_are_taken_as_base64(client: ModelClient, service: Any):
    service.will(httpx.Response(200, json={"ä/1": {"label": "7"}, "b": None}))
    assert client.stream_predict({"ä/1": b"\x00\xff", "b": "AAE="}) == {"ä/1": {"label": "7"}, "b": None}
    [request] = service.requests
    assert request.url.path == "/v1/mistk/streamPredict"
    assert not request.url.params
    assert json.loads(request.content) == {"ä/1": base64.b64encode(b"\x00\xff").decode(), "b": "AAE="}


@pytest.mark.parametrize("answer", [httpx.Response(200), httpx.Response(204)], ids=["MISTK 1.0", "MISTK 1.4"])
def test_a_service_that_answers_an_operation_with_nothing_is_followed_from_the_status_before(
    client: ModelClient, service: Any, status: Callable[..., dict[str, Any]], line: Callable[..., bytes], answer: Any
):
    service.will(httpx.Response(200, json=status("ready", 3)), answer)
    service.will(httpx.Response(200, content=line("training", 4) + line("ready", 5)))
    client.status()
    begun = client.train()
    assert (begun.state, begun.resource_version) == ("training", 3)
    assert client.wait_for("ready", since=begun).resource_version == 5
    service.will(httpx.Response(200, json=status("ready", 6)), answer)
    assert client.predict().resource_version == 6


def test_a_failure_of_mistk_whose_payload_is_a_text_is_reported(
    client: ModelClient, service: Any, status: Callable[..., dict[str, Any]]
):
    service.will(httpx.Response(200, json=status("failed", 3) | {"payload": "no data"}))
    error = client.status().error
    assert error is not None
    assert error.message == "no data"


def test_details_are_asked_for_when_they_are_wanted(client: ModelClient, service: Any):
    service.will(httpx.Response(200, json={}))
    assert client.stream_predict({}, details=True) == {}
    assert dict(service.requests[0].url.params) == {"details": "true"}


def test_the_status_and_the_version_are_asked_for(
    client: ModelClient, service: Any, status: Callable[..., dict[str, Any]]
):
    service.will(httpx.Response(200, json=status("ready", 3)), httpx.Response(200, json="1.0.0"))
    assert client.status().state is State.READY
    assert client.api_version() == "1.0.0"
    assert [(r.method, r.url.path) for r in service.requests] == [
        ("GET", "/v1/mistk/status"),
        ("GET", "/v1/mistk/apiVersion"),
    ]


@pytest.mark.parametrize(("method", "path"), [("ready", "/readyz"), ("healthy", "/healthz")])
def test_a_service_is_well_when_it_says_so_and_not_when_it_says_nothing(
    client: ModelClient, service: Any, method: str, path: str
):
    service.will(httpx.Response(200), httpx.Response(503), httpx.ConnectError("refused"))
    assert [getattr(client, method)() for _ in range(3)] == [True, False, False]
    assert service.requests[0].url.path == path


def test_a_server_without_the_health_paths_is_not_a_model_container(client: ModelClient, service: Any):
    service.will(httpx.Response(404, text="Not Found"))
    with pytest.raises(RequestRefused, match=r"GET http://model\.example:8080/readyz returned 404: Not Found"):
        client.ready()


# --- arguments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}])
def test_what_json_cannot_express_is_not_sent(client: ModelClient, service: Any, value: Any):
    with pytest.raises(InvalidRequest, match="JSON cannot express"):
        client.initialize(["training"], hyperparameters={"rate": value})
    assert service.requests == []


def test_what_is_nested_too_deeply_is_not_sent(client: ModelClient, service: Any):
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        client.initialize(["training"], hyperparameters={"rate": nested})
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        client.update_stream_properties({"a": nested})
    assert service.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8080",
        "ftp://host",
        "http://",
        "http://host?token=x",
        "http://host/#a",
        "http://host:port",
        "http://host:99999",
        None,
    ],
)
def test_an_address_that_is_none_is_refused(url: Any):
    with pytest.raises(InvalidRequest, match="http://localhost:8080") as caught:
        ModelClient(url)
    assert caught.value.field == "base_url"


@pytest.mark.parametrize(
    ("base", "asked"),
    [
        ("http://h:1", "http://h:1/v1/mistk/status"),
        ("http://h:1/", "http://h:1/v1/mistk/status"),
        ("http://h:1/v1/mistk", "http://h:1/v1/mistk/status"),
        ("http://h:1/v1/mistk/", "http://h:1/v1/mistk/status"),
        ("https://gateway/models/digits", "https://gateway/models/digits/v1/mistk/status"),
        ("https://gateway/models/digits/v1/mistk/", "https://gateway/models/digits/v1/mistk/status"),
    ],
)
def test_the_base_path_may_be_given_or_left_out(
    service: Any, status: Callable[..., dict[str, Any]], line: Callable[..., bytes], base: str, asked: str
):
    service.will(httpx.Response(200, json=status("ready", 3)), httpx.Response(200, content=line("terminated", 4)))
    with ModelClient(base, transport=httpx.MockTransport(service)) as client:
        client.status()
        list(client.watch(3))
    assert [str(request.url.copy_with(query=None)) for request in service.requests] == [asked, asked]


# --- secrets ------------------------------------------------------------------------------------------------------


def test_credentials_are_sent_and_never_shown(
    service: Any, status: Callable[..., dict[str, Any]], line: Callable[..., bytes]
):
    service.will(
        httpx.Response(200, json=status("ready", 3)),
        httpx.Response(200, content=line("terminated", 4)),
        httpx.ConnectError("refused"),
        httpx.Response(404),
        httpx.Response(200, text="<html>"),
    )
    transport = httpx.MockTransport(service)
    headers = {"X-Token": "hunter3"}
    with ModelClient("http://me:hunter2@host:1", transport=transport, headers=headers) as client:
        client.status()
        list(client.watch(3))
        shown = [repr(client)]
        for _ in range(3):
            with pytest.raises(ClientError) as caught:
                client.status()
            shown.append(str(caught.value) + repr(caught.value))
    assert shown[0] == "<ModelClient of http://host:1>"
    assert not any("hunter" in text for text in shown)
    for request in service.requests:
        assert request.headers["authorization"].startswith("Basic ")
        assert request.headers["x-token"] == "hunter3"


@pytest.mark.parametrize(
    ("url", "headers", "sent"),
    [
        ("http://host", {}, "Bearer of-the-environment"),
        ("http://:of-the-url@host/v1/mistk", {}, "Bearer of-the-url"),
        ("http://me:pass%3Aword@host", {}, "Basic bWU6cGFzczp3b3Jk"),
        ("http://:of-the-url@host", {"authorization": "Bearer of-the-caller"}, "Bearer of-the-caller"),
    ],
)
def test_a_token_comes_from_the_headers_the_url_or_the_environment(
    service: Any, monkeypatch: pytest.MonkeyPatch, url: str, headers: dict[str, str], sent: str
) -> None:
    monkeypatch.setenv("MISTK_CLIENT_TOKEN", "of-the-environment\n")
    service.will(httpx.Response(200, json="1.4.0"))
    with ModelClient(url, transport=httpx.MockTransport(service), headers=headers) as client:
        client.api_version()
    assert service.requests[0].headers["authorization"] == sent


def test_a_token_that_cannot_be_sent_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTK_CLIENT_TOKEN", "hunter2\r\nX-Evil: 1")
    with pytest.raises(InvalidRequest, match="MISTK_CLIENT_TOKEN has characters") as caught:
        ModelClient("http://host")
    assert "hunter2" not in repr(caught.value)


@pytest.mark.parametrize("answer", [httpx.Response(502, text="bad gateway"), httpx.Response(302)])
def test_credentials_in_the_url_of_an_agent_are_in_no_error(service: Any, answer: httpx.Response) -> None:
    service.will(answer)
    client = OrchestratorClient("http://host", transport=httpx.MockTransport(service))
    with client, pytest.raises(MistkError) as caught:
        client.register_agent("x", "http://:hunter2@agent")
    assert "hunter2" not in f"{caught.value!r} {caught.value}"


def test_a_service_that_refuses_a_token_is_not_told_to_be_given_one(service: Any) -> None:
    refusal = {"code": 401, "message": "The credentials of the request are wrong."}
    service.will(httpx.Response(401, json=refusal), httpx.Response(401, json=refusal))
    for url, hint in (("http://:wrong@host", False), ("http://host", True)):
        with ModelClient(url, transport=httpx.MockTransport(service)) as client:
            with pytest.raises(RequestRefused) as caught:
                client.api_version()
            assert ("MISTK_CLIENT_TOKEN" in str(caught.value)) is hint


# --- errors -------------------------------------------------------------------------------------------------------


def test_a_refusal_carries_what_the_service_said(client: ModelClient, service: Any):
    body = {
        "code": 400,
        "message": "train is not possible while the model is training.",
        "operation": "train",
        "state": "training",
        "activity": "train",
        "possible": ["pause", "reset"],
    }
    service.will(httpx.Response(400, json=body))
    with pytest.raises(RequestRefused) as caught:
        client.train()
    error = caught.value
    assert str(error) == body["message"]
    assert (error.code, error.operation, error.state, error.activity) == (400, "train", "training", "train")
    assert error.possible == ("pause", "reset")
    assert error.field is None


def test_a_wrong_argument_is_named(client: ModelClient, service: Any):
    service.will(httpx.Response(400, json={"code": 400, "message": "no such folder", "field": "modelPath"}))
    with pytest.raises(RequestRefused, match="no such folder") as caught:
        client.build_model("/nowhere")
    assert caught.value.field == "modelPath"


@pytest.mark.parametrize("code", [500, 503])
def test_a_failure_of_the_service_is_distinguished_from_a_refusal(client: ModelClient, service: Any, code: int):
    service.will(httpx.Response(code, json={"code": code, "message": "the hook raised", "operation": "streamPredict"}))
    with pytest.raises(RequestFailed, match="the hook raised") as caught:
        client.stream_predict({"a": b""})
    assert (caught.value.code, caught.value.operation) == (code, "streamPredict")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(502, text="<h1>Bad\nGateway</h1>"), "returned 502: <h1>Bad Gateway</h1>"),
        (httpx.Response(502), "returned 502: Bad Gateway"),
        (httpx.Response(500, json=["x"]), 'returned 500: ["x"]'),
        (httpx.Response(500, text="y" * 5000), "y" * 200 + " ..."),
    ],
)
def test_an_error_that_is_not_a_service_error_is_quoted(
    client: ModelClient, service: Any, answer: httpx.Response, said: str
):
    service.will(answer)
    with pytest.raises(RequestFailed) as caught:
        client.train()
    assert str(caught.value).endswith(said)
    assert "POST http://model.example:8080/v1/mistk/train" in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>hello</html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"state": "ready"}),
        httpx.Response(200, json={"objectInfo": {"resourceVersion": 1}, "state": "dancing"}),
        httpx.Response(200, json={"objectInfo": {"resourceVersion": "1"}, "state": "ready"}),
        httpx.Response(200, json={"objectInfo": {"resourceVersion": 1}, "state": "ready", "payload": [1]}),
        httpx.Response(200, content=b"\xff\xfe"),
        httpx.Response(307, headers={"Location": "/login"}),
        httpx.Response(204),
    ],
)
def test_what_does_not_speak_the_contract_is_said_to(client: ModelClient, service: Any, answer: httpx.Response):
    service.will(answer)
    with pytest.raises(AnswerNotUnderstood, match="does not seem to be a model container") as caught:
        client.status()
    assert caught.value.url == "http://model.example:8080/v1/mistk/status"


def test_predictions_and_versions_of_the_wrong_type_are_not_understood(client: ModelClient, service: Any):
    service.will(httpx.Response(200, json=["a"]), httpx.Response(200, json={"version": 1}))
    with pytest.raises(AnswerNotUnderstood, match="expected an object"):
        client.stream_predict({})
    with pytest.raises(AnswerNotUnderstood, match="expected a string"):
        client.api_version()


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (httpx.ConnectError("[Errno 111] Connection refused"), "No response from .* Connection refused.*running"),
        (httpx.ConnectTimeout("slow"), "No connection to .* within 60 s"),
        (httpx.ReadTimeout("slow"), "did not respond to POST within 60 s.*may have received"),
        (httpx.ReadError(""), "broke before the response \\(ReadError\\)"),
        (httpx.RemoteProtocolError("gone"), "broke before the response \\(gone\\)"),
    ],
)
def test_no_answer_is_an_error_of_the_tree(client: ModelClient, service: Any, raised: Exception, said: str):
    service.will(raised)
    with pytest.raises(ServiceUnreachable, match=said) as caught:
        client.train()
    assert caught.value.url == "http://model.example:8080/v1/mistk/train"
    assert caught.value.__cause__ is raised


def test_every_error_of_the_client_has_the_root_of_the_tree():
    for error in (ServiceUnreachable, AnswerNotUnderstood, RequestRefused, RequestFailed):
        assert issubclass(error, ClientError)
    assert issubclass(ClientError, MistkError)


class Connections(httpx.MockTransport):
    """Connections that may be closed."""

    closed = False

    def close(self) -> None:
        self.closed = True


def test_a_closed_client_has_closed_its_connections(service: Any):
    connections = Connections(service)
    with ModelClient("http://h", transport=connections) as client:
        service.will(httpx.Response(200, json="1.0"))
        assert client.api_version() == "1.0"
        assert not connections.closed
    assert connections.closed
