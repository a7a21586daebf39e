"""Predictions for a source: the response ends with the source, the client or the instance."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mistk_service.client import ModelClient
from tests.service.harness import RESTING, Service, lines_of, refused

MODEL = f"{Path(__file__).parents[1] / 'models' / 'sources.py'}:Sources"
CANCEL = "/streamPredict/source/cancel"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("sources")
    with Service("serve", MODEL, "--port", "0", "--keepalive", "0.05", cwd=folder) as service:
        yield service


@pytest.fixture
def service(shared: Service) -> Service:
    """The service in the state ``ready``."""
    status = shared.wait(lambda status: status["state"] in RESTING, shared.status())
    if status["state"] not in ("started", "ready"):
        shared.do("reset")
    if status["state"] != "ready":
        shared.make_ready()
    return shared


@contextlib.contextmanager
def streamed(service: Service, source: str, **more: Any) -> Iterator[Iterator[Any]]:
    """Open a stream, and give its lines, decoded."""
    query = {"source": source}
    with service.api.stream("POST", "/streamPredict/source", params=query, **more) as response:
        assert response.status_code == 200, response.read()
        yield (json.loads(line) for line in lines_of(response) if line.strip())


def predictions(service: Service, source: str, **more: Any) -> list[Any]:
    with streamed(service, source, **more) as lines:
        return list(lines)


def ended(service: Service) -> dict[str, Any]:
    """Return the payload of the status once the stream has ended."""
    return service.wait_for_state("ready", service.status())["payload"]


def test_each_update_is_an_event_and_the_end_of_the_hook_ends_the_stream(service: Service) -> None:
    (event,) = predictions(service, "arguments")
    assert event == {"eventType": "added", "payload": {"format": None, "props": {}}}
    payload = ended(service)
    assert (payload["lastActivity"]["operation"], payload["lastActivity"]["outcome"]) == (
        "streamPredict/source",
        "completed",
    )


def test_format_and_props_reach_the_hook(service: Service) -> None:
    answer = service.api.post(
        "/streamPredict/source", params={"source": "arguments", "format": "csv"}, json={"rate": 2}
    )
    assert json.loads(answer.content)["payload"] == {"format": "csv", "props": {"rate": 2}}
    # As the harness of MISTK sends it.
    answer = service.api.post("/streamPredict/source?source=arguments&format=None", json={})
    assert json.loads(answer.content)["payload"] == {"format": None, "props": {}}


@pytest.mark.parametrize("source", ["polling", "steps"])
def test_a_cancel_ends_the_stream_of_a_model_that_polls_or_reaches_a_pause_point(service: Service, source: str) -> None:
    with streamed(service, source) as lines:
        assert next(lines)["eventType"] == "added"
        status = service.status()
        assert status["state"] == "predicting"
        assert set(status["payload"]["possible"]) == {"streamPredict/source/cancel", "reset", "shutdown"}
        answer = service.api.delete(CANCEL)
        assert (answer.status_code, answer.content) == (204, b"")
        assert all("error" not in line and "late" not in line["payload"] for line in lines)
    payload = ended(service)
    assert payload["lastActivity"]["outcome"] == "completed"
    if source == "polling":
        assert payload["ended"] == "by the flag"


def test_a_cancel_is_accepted_in_any_state_and_changes_nothing_without_a_stream(service: Service) -> None:
    before = service.settled()
    assert service.api.delete(CANCEL).status_code == 204
    assert service.status() == before
    service.do("reset")
    assert service.api.delete(CANCEL).status_code == 204
    assert service.status()["state"] == "started"


def test_a_client_that_leaves_ends_the_stream(service: Service) -> None:
    with streamed(service, "steps") as lines:
        next(lines)
    assert ended(service)["lastActivity"]["outcome"] == "completed"


def test_the_client_of_python_yields_predictions_and_ends_the_stream_when_it_is_closed(service: Service) -> None:
    with ModelClient(service.url) as client:
        predictions = client.stream_predict_source("steps")
        assert next(predictions) == {"0": "first"}
        predictions.close()
        assert client.wait_for("ready").last_activity is not None


def test_a_slow_client_slows_the_model_down(service: Service) -> None:
    with streamed(service, "flood") as lines:
        next(lines)
        # 100 MB would pass the sockets by and lie in the memory of the service.
        begun = service.wait(lambda status: "progress" in status["payload"], service.status())
        assert begun["state"] == "predicting"
        assert begun["payload"]["progress"]["done"] < 500
        assert sum(len(line["payload"]) for line in lines) == 999


def test_keep_alives_and_server_sent_events(service: Service) -> None:
    query = {"source": "steps"}
    headers = {"accept": "text/event-stream"}
    with service.api.stream("POST", "/streamPredict/source", params=query, headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        text = ""
        for part in response.iter_text():
            text += part
            if text.count(": keepalive\n\n") > 3:
                break
    assert 'data: {"eventType":"added","payload":{"0":"first"}}\n\n' in text


def test_a_reset_ends_the_stream_with_the_reason(service: Service) -> None:
    with streamed(service, "polling") as lines:
        next(lines)
        service.post("reset")
        *_, last = lines
    assert (last["error"]["code"], "reset" in last["error"]["message"]) == (503, True)


# --- bad input ----------------------------------------------------------------------------------------------------


def test_a_source_that_the_model_refuses_is_a_bad_request_and_changes_nothing(service: Service) -> None:
    answer = service.api.post("/streamPredict/source", params={"source": "refused"})
    error = refused(answer)
    assert (error["message"], error["field"]) == ("There is no such source.", "source")
    assert service.status()["state"] == "ready"


@pytest.mark.parametrize(
    ("request_", "field"),
    [({}, "source"), ({"params": {"source": ""}}, "source"), ({"params": {"source": "x", "surce": "y"}}, "surce")],
)
def test_a_request_without_a_source_or_with_another_parameter_is_refused(
    service: Service, request_: dict[str, Any], field: str
) -> None:
    assert field in refused(service.api.post("/streamPredict/source", **request_))["message"]
    assert service.status()["state"] == "ready"


def test_props_that_are_not_an_object_are_refused(service: Service) -> None:
    answer = service.api.post("/streamPredict/source", params={"source": "arguments"}, json=[1])
    assert "is not an object" in refused(answer)["message"]


def test_it_is_refused_in_other_states_and_while_another_stream_runs(service: Service) -> None:
    with streamed(service, "steps") as lines:
        next(lines)
        requests: dict[str, dict[str, Any]] = {
            "streamPredict/source": {"params": {"source": "steps"}},
            "streamPredict": {"json": {"a": "b"}},
            "pause": {},
        }
        for operation, request_ in requests.items():
            error = refused(service.api.post(f"/{operation}", **request_))
            assert (error["operation"], error["activity"]) == (operation, "streamPredict/source")
    service.do("reset")
    error = refused(service.api.post("/streamPredict/source", params={"source": "steps"}))
    assert (error["operation"], error["state"]) == ("streamPredict/source", "started")


@pytest.mark.parametrize(("source", "message"), [("raise", "told to raise"), ("odd", "object")])
def test_a_failure_before_the_first_prediction_is_500_and_fails_the_instance(
    service: Service, source: str, message: str
) -> None:
    answer = service.api.post("/streamPredict/source", params={"source": source})
    assert message in refused(answer, 500)["message"]
    assert service.wait_for_state("failed", service.status())["payload"]["operation"] == "streamPredict/source"


def test_a_later_failure_is_the_last_line(service: Service) -> None:
    first, last = predictions(service, "raise_late")
    assert first["payload"] == {"0": "first"}
    assert (last["error"]["code"], "told to raise" in last["error"]["message"]) == (500, True)


def test_the_end_of_the_worker_is_the_last_line(service: Service) -> None:
    with streamed(service, "polling") as lines:
        next(lines)
        service.worker().kill()
        *_, last = lines
    assert "SIGKILL" in last["error"]["message"]


def test_a_model_without_the_hook_refuses_it_and_still_takes_the_cancel(start: Any) -> None:
    service = start()
    service.make_ready()
    error = refused(service.api.post("/streamPredict/source", params={"source": "x"}))
    assert "do_stream_predict_source" in error["message"]
    assert service.api.delete(CANCEL).status_code == 204


def test_the_cancel_is_a_delete(service: Service) -> None:
    assert service.api.post(CANCEL).headers["allow"] == "DELETE"
