"""A watch survives broken connections without losing or repeating an event, and gives up after its limit."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpx
import pytest

from mistk_service.client import ModelClient, WatchEvent
from mistk_service.client.connections import BlockingConnections
from mistk_service.client.dual import iterate
from mistk_service.client.watching import StatusStream
from mistk_service.errors import AnswerNotUnderstood, RequestFailed, RequestRefused, ServiceUnreachable

URL = httpx.URL("http://model.example:8080/v1/mistk/status")


class FakeClock:
    """A clock that only sleeping moves; it remembers how long each sleep was."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.sleeps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.time += seconds


class ClockedConnections(BlockingConnections):
    """Connections with a clock of their own."""

    def __init__(self, service: Any, clock: FakeClock) -> None:
        super().__init__(httpx.Client(transport=httpx.MockTransport(service)))
        self._clock = clock

    def now(self) -> float:
        return self._clock.time

    async def sleep(self, seconds: float) -> None:
        self._clock.sleep(seconds)


def stream(
    service: Any, clock: FakeClock, after: int | None = 0, *, give_up_after: float = 10.0, deadline: float | None = None
) -> Iterator[WatchEvent]:
    connections = ClockedConnections(service, clock)
    return iterate(StatusStream(connections, URL, after, give_up_after=give_up_after, deadline=deadline).events())


def seen(events: Iterable[WatchEvent]) -> list[tuple[int, str]]:
    return [(event.status.resource_version, str(event.status.state)) for event in events]


# --- over real connections ----------------------------------------------------------------------------------------


def test_a_connection_that_breaks_is_made_again_from_the_last_version(
    watch_server: Any, connection: Any, line: Callable[..., bytes]
):
    half = line("ready", 13)[:40]
    watch_server.script = [
        connection((line("training", 11), line("training", 12), half), then="break"),
        connection((), then="break"),
        connection((line("ready", 13), b" ", line("terminating", 14)), then="end"),
        connection((line("terminated", 15),)),
    ]
    with ModelClient(watch_server.url) as client:
        assert seen(client.watch(10)) == [
            (11, "training"),
            (12, "training"),
            (13, "ready"),
            (14, "terminating"),
            (15, "terminated"),
        ]
    assert [query["resourceVersion"] for query in watch_server.queries] == [["10"], ["12"], ["12"], ["14"]]
    assert {headers["Accept"] for headers in watch_server.headers} == {"application/x-ndjson"}


def test_a_watch_without_a_version_begins_with_the_whole_history(
    watch_server: Any, connection: Any, line: Callable[..., bytes]
):
    watch_server.script = [connection((), "break"), connection((line("started", 1), line("terminated", 2)))]
    with ModelClient(watch_server.url) as client:
        assert seen(client.watch()) == [(1, "started"), (2, "terminated")]
    assert [query.get("resourceVersion") for query in watch_server.queries] == [None, None]


def test_a_watch_that_is_left_early_closes_its_connection(
    watch_server: Any, connection: Any, line: Callable[..., bytes]
):
    watch_server.script = [connection((line("ready", 1),), then="leave")]
    with ModelClient(watch_server.url) as client:
        events = client.watch(0)
        assert next(events).status.resource_version == 1
        assert not watch_server.left.is_set()
        events.close()
        assert watch_server.left.wait(30)


class Network:
    """What httpx tells of the connection of a response."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def get_extra_info(self, name: str) -> socket.socket:
        assert name == "socket"
        return self._connection


def over(connection: socket.socket, body: Iterable[bytes]) -> httpx.Response:
    """Return a response over a connection."""
    return httpx.Response(200, content=body, extensions={"network_stream": Network(connection)})


def test_a_connection_is_cut_off_when_the_time_is_up_though_it_is_not_silent_long_enough(service: Any):
    ours, theirs = socket.socketpair()
    clock = FakeClock()

    def read() -> Iterator[bytes]:
        while data := ours.recv(1):
            yield data
        clock.time += 1.0

    service.will(over(ours, read()))
    with ours, theirs:
        with pytest.raises(TimeoutError):
            list(stream(service, clock, deadline=clock.time + 0.01, give_up_after=3600))
        assert theirs.recv(1) == b""


def test_a_connection_is_left_alone_when_there_was_time_left(service: Any, line: Callable[..., bytes]):
    ours, theirs = socket.socketpair()
    service.will(over(ours, [line("terminated", 1)]))
    clock = FakeClock()
    with ours, theirs:
        assert seen(stream(service, clock, deadline=clock.time + 3600)) == [(1, "terminated")]
        theirs.sendall(b"x")
        assert ours.recv(1) == b"x"


# --- what is sent -------------------------------------------------------------------------------------------------


def test_lines_are_put_together_from_any_pieces_and_white_space_means_nothing(service: Any, line: Callable[..., bytes]):
    # U+2028 ends a line for Python's splitlines, and is a character like any other in JSON.
    text = b" \n" + line("training", 1, notice="a\u2028b\x85ö") + b"  \r\n   " + line("terminated", 2)
    for size in (1, 7, len(text)):
        pieces = [text[i : i + size] for i in range(0, len(text), size)]
        service.will(httpx.Response(200, content=iter(pieces)))
        events = list(stream(service, FakeClock()))
        assert seen(events) == [(1, "training"), (2, "terminated")]
        assert events[0].status.notice == "a\u2028b\x85ö"


def test_what_is_known_already_is_not_repeated(service: Any, line: Callable[..., bytes]):
    # MISTK's own service sends what it has from the beginning.
    first = line("training", 5) + line("training", 6)
    service.will(httpx.Response(200, content=first), httpx.Response(200, content=first + line("terminated", 7)))
    assert seen(stream(service, FakeClock(), 5)) == [(6, "training"), (7, "terminated")]


def test_a_gap_is_reported_with_the_event_after_it(service: Any, line: Callable[..., bytes]):
    service.will(httpx.Response(200, content=line("terminated", 900, missed={"from": 4, "to": 899})))
    [event] = stream(service, FakeClock(), 3)
    assert event.missed == (4, 899)
    assert event.note == "Something is gone."


@pytest.mark.parametrize("missed", [{"from": 3, "to": 50}, None])
def test_another_container_at_the_same_address_is_followed_from_its_own_versions(
    service: Any, line: Callable[..., bytes], missed: dict[str, int] | None
):
    service.will(
        httpx.Response(200, content=line("training", 50)),
        httpx.Response(200, content=line("started", 2, container="other", missed=missed)),
        httpx.Response(200, content=line("terminated", 3, container="other")),
    )
    assert seen(stream(service, FakeClock(), 49)) == [(50, "training"), (2, "started"), (3, "terminated")]
    assert [r.url.params["resourceVersion"] for r in service.requests] == ["49", "50", "2"]


@pytest.mark.parametrize("text", [b"hello\n", b"[]\n", b'{"eventType": "added"}\n', b"\xff\n"])
def test_lines_that_are_not_events_are_not_understood(service: Any, text: bytes):
    service.will(httpx.Response(200, content=text))
    with pytest.raises(AnswerNotUnderstood, match=r"http://model\.example:8080/v1/mistk/status does not send"):
        list(stream(service, FakeClock()))


def test_a_watch_from_the_very_end_ends_at_once(service: Any, status: Callable[..., dict[str, Any]]):
    service.will(httpx.Response(200, content=b" "), httpx.Response(200, json=status("terminated", 9)))
    clock = FakeClock()
    assert seen(stream(service, clock, 9)) == []
    assert ([r.url.params.get("watch") for r in service.requests], clock.sleeps) == (["true", None], [])


@pytest.mark.parametrize(("state", "version"), [("ready", 9), ("terminated", 10), ("terminated", 3)])
def test_a_silent_stream_that_is_not_at_the_very_end_is_asked_again(
    service: Any, status: Callable[..., dict[str, Any]], line: Callable[..., bytes], state: str, version: int
):
    service.will(httpx.Response(200, content=b" "), httpx.Response(200, json=status(state, version)))
    service.will(httpx.Response(200, content=b" "), httpx.Response(200, content=line("terminated", 10)))
    assert seen(stream(service, FakeClock(), 9)) == [(10, "terminated")]
    assert [r.url.params.get("resourceVersion") for r in service.requests] == ["9", None, "9", "9"]


# --- giving up ----------------------------------------------------------------------------------------------------


def test_the_attempts_become_rarer_and_end_when_there_was_no_contact_for_long_enough(service: Any):
    service.will(*[httpx.ConnectError("refused")] * 50)
    clock = FakeClock()
    with pytest.raises(ServiceUnreachable, match=r"No contact with .* for 30 s \(refused\)") as caught:
        list(stream(service, clock, give_up_after=30.0))
    assert clock.sleeps == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5, 5, 3.7])
    assert len(service.requests) == len(clock.sleeps) + 2
    assert isinstance(caught.value.__cause__, httpx.ConnectError)


def test_without_patience_the_first_break_is_the_last(service: Any):
    service.will(httpx.ConnectError("refused"))
    with pytest.raises(ServiceUnreachable):
        list(stream(service, FakeClock(), give_up_after=0))
    assert len(service.requests) == 1


def test_an_event_renews_the_patience(service: Any, line: Callable[..., bytes]):
    refused = httpx.ConnectError("refused")
    training, terminated = (httpx.Response(200, content=line(*e)) for e in (("training", 1), ("terminated", 2)))
    service.will(*[refused] * 6, training, *[refused] * 5, terminated)
    clock = FakeClock()
    assert seen(stream(service, clock, give_up_after=4)) == [(1, "training"), (2, "terminated")]
    assert clock.sleeps == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6] * 2)


def test_keepalives_renew_the_patience_and_not_the_haste(service: Any, line: Callable[..., bytes]):
    # One more than there are attempts: after the first it asks whether everything was over before.
    service.will(*[httpx.Response(200, content=b" ") for _ in range(11)])
    service.will(httpx.Response(200, content=line("terminated", 1)))
    clock = FakeClock()
    assert seen(stream(service, clock, give_up_after=6)) == [(1, "terminated")]
    assert clock.sleeps == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5])


def test_a_service_that_ends_every_stream_at_once_is_given_up(service: Any):
    service.will(*[httpx.Response(200, content=b"") for _ in range(50)])
    with pytest.raises(ServiceUnreachable, match="the stream ends at once"):
        list(stream(service, FakeClock()))
    assert len(service.requests) < 15


@pytest.mark.parametrize("code", [502, 503, 504])
def test_an_answer_that_may_pass_is_not_a_reason_to_give_up(service: Any, line: Callable[..., bytes], code: int):
    service.will(httpx.Response(code, text="later"), httpx.Response(200, content=line("terminated", 1)))
    assert seen(stream(service, FakeClock())) == [(1, "terminated")]


@pytest.mark.parametrize(("code", "error"), [(400, RequestRefused), (404, RequestRefused), (500, RequestFailed)])
def test_any_other_error_ends_the_watch(service: Any, code: int, error: type[Exception]):
    service.will(httpx.Response(code, json={"code": code, "message": "no watch for you"}))
    with pytest.raises(error, match="no watch for you"):
        list(stream(service, FakeClock()))
    assert len(service.requests) == 1


def test_the_deadline_ends_the_waiting_between_attempts(service: Any):
    service.will(*[httpx.ConnectError("refused")] * 50)
    clock = FakeClock()
    with pytest.raises(TimeoutError):
        list(stream(service, clock, give_up_after=60, deadline=clock.time + 1))
    assert sum(clock.sleeps) == pytest.approx(1)


def test_the_deadline_ends_a_stream_of_keepalives(service: Any):
    clock = FakeClock()

    def keepalives() -> Any:
        while True:
            clock.sleep(5)
            yield b" "

    service.will(httpx.Response(200, content=keepalives()))
    with pytest.raises(TimeoutError):
        list(stream(service, clock, deadline=clock.time + 12))
    assert clock.sleeps == [5, 5, 5]


def test_no_read_lasts_longer_than_the_deadline_allows(service: Any, line: Callable[..., bytes]):
    service.will(httpx.Response(200, content=line("terminated", 1)))
    clock = FakeClock()
    list(stream(service, clock, deadline=clock.time + 7))
    timeout = service.requests[0].extensions["timeout"]
    assert (timeout["read"], timeout["connect"]) == (7, 7)


def test_an_event_is_one_line_of_json(line: Callable[..., bytes]):
    assert json.loads(line("ready", 1))["payload"]["state"] == "ready"
