"""Answers in parts over HTTP: lines of JSON, Server-Sent Events, or an array."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.service.conftest import Start
from tests.service.harness import Service, refused
from tests.support.harness import reference

FORMS = {"*/*": "application/x-ndjson", "text/event-stream": "text/event-stream"}


@pytest.fixture
def service(start: Start) -> Service:
    service = start(model=reference("in_parts:InParts"))
    service.make_ready()
    return service


def parts_of(response: httpx.Response) -> Iterator[object]:
    """Yield the parts of a response as they arrive; an event named ``error`` as the line for it."""
    failed = False
    for line in response.iter_lines():
        if line == "event: error":
            failed = True
        elif line:
            value = json.loads(line.removeprefix("data: "))
            yield {"error": value} if failed else value


def test_an_answer_in_parts_is_lines_of_json_or_events_or_an_array(service: Service) -> None:
    parts = [{"part": number} for number in range(40)]
    for accept, form in {**FORMS, "application/json": "application/json"}.items():
        response = service.api.post("/streamPredict", json={"n": "40"}, headers={"Accept": accept})
        assert response.headers["content-type"].partition(";")[0] == form
        assert (response.json() if form == "application/json" else list(parts_of(response))) == parts
    assert service.status()["state"] == "ready"


@pytest.mark.parametrize("accept", FORMS)
def test_a_client_reads_the_parts_of_an_endless_answer_and_its_leaving_ends_it(service: Service, accept: str) -> None:
    with service.api.stream("POST", "/streamPredict", json={"n": "-1"}, headers={"Accept": accept}) as response:
        parts = parts_of(response)
        assert [next(parts) for _ in range(50)] == [{"part": number} for number in range(50)]
    status = service.wait(lambda status: "closed" in status["payload"] and status["state"] == "ready", service.status())
    assert status["payload"]["produced"][""] >= 50


@pytest.mark.parametrize("accept", FORMS)
def test_an_error_in_the_middle_is_the_last_that_the_client_reads(service: Service, accept: str) -> None:
    body = {"n": "-1", "at": "20", "then": "raise"}
    response = service.api.post("/streamPredict", json=body, headers={"Accept": accept})
    *parts, last = parts_of(response)
    assert parts == [{"part": number} for number in range(20)]
    assert isinstance(last, dict)
    assert last["error"]["code"] == 500
    assert "told to raise" in last["error"]["message"]


def test_an_error_before_the_first_part_or_of_an_array_is_a_status(service: Service) -> None:
    for at, accept in (("0", "*/*"), ("0", "text/event-stream"), ("20", "application/json")):
        for then, code in (("raise", 500), ("refuse", 400)):
            response = service.api.post(
                "/streamPredict", json={"n": "-1", "at": at, "then": then}, headers={"Accept": accept}
            )
            assert f"told to {then}" in refused(response, code)["message"]
    assert service.status()["state"] == "ready"
