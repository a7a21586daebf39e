"""Credentials of a client are sent, and never shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from mistk_service.client import ModelClient, OrchestratorClient
from mistk_service.errors import (
    ClientError,
    InvalidRequest,
    MistkError,
    RequestRefused,
)


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
