"""Every operation sends what the contract requires, and invalid arguments are not sent."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import httpx
import pytest

from mistk_service import MistkDataset, ObjectInfo, Objective
from mistk_service.client import ModelClient
from mistk_service.errors import (
    InvalidRequest,
    RequestFailed,
    RequestRefused,
)
from mistk_service.kinds.model.operations import OPERATIONS
from mistk_service.kinds.model.states import State
from mistk_service.resources import load_contract

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
    paths = load_contract()["paths"]
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
