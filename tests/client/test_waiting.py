"""A wait ends when its state is reached, or at once if the state cannot be reached."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from mistk_service.client import ModelClient, ModelStatus
from mistk_service.errors import ClientError, InvalidRequest, ServiceUnreachable, WaitFailed, WaitTimedOut
from mistk_service.kinds.model.states import State

Line = Callable[..., bytes]
Wire = Callable[..., dict[str, Any]]


def watched(*lines: bytes) -> httpx.Response:
    return httpx.Response(200, content=b"".join(lines))


def versions(service: Any) -> list[str | None]:
    return [request.url.params.get("resourceVersion") for request in service.requests]


# --- reached ------------------------------------------------------------------------------------------------------


def test_the_ready_before_the_training_is_not_taken_for_the_one_after_it(
    client: ModelClient, service: Any, status: Wire, line: Line
):
    service.will(httpx.Response(200, json=status("training", 7)), watched(line("training", 8), line("ready", 9)))
    reached = client.wait_for("ready", since=client.train())
    assert (reached.state, reached.resource_version) == (State.READY, 9)
    # The status was not asked for in between: at that time it may have been anything.
    assert versions(service) == [None, "7"]


def test_an_operation_that_has_ended_before_the_wait_begins_is_seen_in_the_history(
    client: ModelClient, service: Any, status: Wire, line: Line
):
    service.will(watched(line("ready", 8), line("training", 9), line("failed", 10)))
    assert client.wait_for("ready", since=ModelStatus.from_wire(status("training", 7))).resource_version == 8


def test_a_state_that_the_answer_of_the_operation_has_is_reached(client: ModelClient, service: Any, status: Wire):
    service.will(httpx.Response(200, json=status("training", 7)))
    resumed = client.resume_training()
    assert client.wait_for("training", since=resumed) is resumed
    assert len(service.requests) == 1


def test_without_since_the_present_state_counts(client: ModelClient, service: Any, status: Wire, line: Line):
    service.will(httpx.Response(200, json=status("ready", 3)))
    assert client.wait_for("ready").resource_version == 3
    service.will(httpx.Response(200, json=status("training", 4)), watched(line("ready", 5)))
    assert client.wait_for(State.READY).resource_version == 5
    assert versions(service) == [None, None, "4"]


@pytest.mark.parametrize("states", [{"paused", "ready"}, ("ready", "paused"), iter([State.PAUSED, State.READY])])
def test_the_first_of_several_states_ends_the_wait(
    client: ModelClient, service: Any, status: Wire, line: Line, states: Any
):
    service.will(httpx.Response(200, json=status("pausing", 4)), watched(line("ready", 5), line("paused", 6)))
    assert client.wait_for(states).state is State.READY


def test_a_wait_continues_over_a_broken_connection(watch_server: Any, connection: Any, line: Line):
    watch_server.script = [
        connection((line("training", 2),), then="break"),
        connection((line("ready", 3),), then="hold"),
    ]
    with ModelClient(watch_server.url) as client:
        assert client.wait_for("ready", timeout=30).resource_version == 3
    assert [query.get("resourceVersion") for query in watch_server.queries] == [None, ["1"], ["2"]]


def test_failed_and_terminated_can_be_waited_for(client: ModelClient, service: Any, status: Wire, line: Line):
    service.will(httpx.Response(200, json=status("training", 1)), watched(line("failed", 2)))
    assert client.wait_for("failed").state is State.FAILED
    service.will(httpx.Response(200, json=status("terminating", 3)), watched(line("terminated", 4)))
    assert client.wait_for("terminated", since=client.shutdown()).state is State.TERMINATED


# --- states that will not be reached ------------------------------------------------------------------------------


def test_a_failure_ends_the_wait_with_the_reason(client: ModelClient, service: Any, status: Wire, line: Line):
    error = {"type": "ValueError", "message": "loss is NaN", "traceback": "Traceback ..."}
    service.will(
        httpx.Response(200, json=status("training", 1)), watched(line("failed", 2, operation="train", error=error))
    )
    with pytest.raises(WaitFailed) as caught:
        client.wait_for("ready", since=client.train())
    assert str(caught.value) == "The model will not reach ready: the model failed in train: ValueError: loss is NaN"
    failure, last = caught.value.failure, caught.value.status
    assert failure is not None
    assert failure.traceback == "Traceback ..."
    assert isinstance(last, ModelStatus)
    assert last.resource_version == 2


def test_a_model_that_has_failed_already_is_not_waited_for(client: ModelClient, service: Any, status: Wire):
    service.will(httpx.Response(200, json=status("failed", 1)))
    with pytest.raises(WaitFailed, match="no reason is given"):
        client.wait_for("ready")


@pytest.mark.parametrize("state", ["terminating", "terminated"])
def test_a_container_that_shuts_down_is_not_waited_for(
    client: ModelClient, service: Any, status: Wire, line: Line, state: str
):
    service.will(httpx.Response(200, json=status("training", 1)), watched(line(state, 2)))
    with pytest.raises(WaitFailed, match="the container is shutting down"):
        client.wait_for("ready")


def test_another_container_is_not_taken_for_the_one_that_was_waited_for(
    client: ModelClient, service: Any, status: Wire, line: Line
):
    service.will(httpx.Response(200, json=status("training", 9)), watched(line("ready", 10, container="another")))
    with pytest.raises(WaitFailed, match="another container"):
        client.wait_for("ready")


@pytest.mark.parametrize(
    ("state", "payload", "said"),
    [
        ("ready", {"notice": "The training ended first."}, "The training ended first."),
        ("training", {}, "the pause had no effect; the model is training"),
    ],
)
def test_a_pause_that_does_not_come_about_ends_the_wait_for_it(
    client: ModelClient, service: Any, status: Wire, line: Line, state: str, payload: dict[str, Any], said: str
):
    service.will(httpx.Response(200, json=status("pausing", 1)), watched(line("pausing", 2), line(state, 3, **payload)))
    with pytest.raises(WaitFailed, match=said):
        client.wait_for("paused", since=client.pause())


def test_a_pause_may_be_waited_for_before_anybody_asks_for_it(
    client: ModelClient, service: Any, status: Wire, line: Line
):
    service.will(
        httpx.Response(200, json=status("ready", 1)),
        watched(line("training", 2), line("ready", 3), line("training", 4), line("pausing", 5), line("paused", 6)),
    )
    assert client.wait_for("paused").resource_version == 6


def test_a_service_that_is_gone_is_not_waited_for(service: Any, status: Wire):
    service.will(httpx.Response(200, json=status("training", 1)), httpx.ConnectError("refused"))
    with ModelClient("http://h", transport=httpx.MockTransport(service), give_up_after=0) as client:
        with pytest.raises(ServiceUnreachable, match="No contact"):
            client.wait_for("ready")


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_a_wait_ends_when_its_time_is_up(watch_server: Any, connection: Any, line: Line, timeout: float):
    watch_server.script = [
        connection((line("training", 2, progress={"done": 3, "total": 20, "unit": "epochs"}),), then="hold")
    ]
    with ModelClient(watch_server.url) as client, pytest.raises(WaitTimedOut) as caught:
        client.wait_for("ready", timeout=timeout, since=client.status())
    assert str(caught.value).startswith(f"The model did not reach ready within {timeout:g} s; it is ")
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, ClientError)
    last = caught.value.status
    assert isinstance(last, ModelStatus)
    assert last.resource_version in {1, 2}


@pytest.mark.parametrize(("timeout", "allowed"), [(1.5, 1.5), (0, 1), (1000, 60), (None, 60)])
def test_the_first_question_takes_no_longer_than_the_wait(
    client: ModelClient, service: Any, status: Wire, timeout: float | None, allowed: float
):
    service.will(httpx.Response(200, json=status("ready", 3)))
    client.wait_for("ready", timeout=timeout)
    assert set(service.requests[0].extensions["timeout"].values()) == {allowed}


@pytest.mark.parametrize("error", [httpx.ReadTimeout("silence"), httpx.ConnectTimeout("silence")], ids=repr)
def test_a_service_that_says_nothing_in_the_time_of_the_wait_ends_it(
    client: ModelClient, service: Any, error: Exception
):
    service.will(error)
    with pytest.raises(WaitTimedOut, match="within 1 s; the service did not report its state") as caught:
        client.wait_for("ready", timeout=1)
    assert caught.value.status is None


def test_a_service_that_is_not_there_is_not_a_matter_of_time(client: ModelClient, service: Any):
    service.will(httpx.ConnectError("refused"))
    with pytest.raises(ServiceUnreachable, match="No response"):
        client.wait_for("ready", timeout=1)


@pytest.mark.parametrize("states", ["redy", ["ready", "done"], [], ""])
def test_a_state_that_is_none_is_refused_before_anything_is_asked(client: ModelClient, service: Any, states: Any):
    with pytest.raises(InvalidRequest) as caught:
        client.wait_for(states)
    assert caught.value.field == "states"
    assert service.requests == []
