"""Error responses, and responses that a client does not understand, become errors of one tree."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from mistk_service.client import ModelClient
from mistk_service.errors import (
    AnswerNotUnderstood,
    ClientError,
    MistkError,
    RequestFailed,
    RequestRefused,
    ServiceUnreachable,
)


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
    with pytest.raises(AnswerNotUnderstood, match="Expected `object`"):
        client.stream_predict({})
    with pytest.raises(AnswerNotUnderstood, match="Expected `str`"):
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
