"""Watching the status: replay, live, late, early-leaving, slow, many; as lines and as Server-Sent Events."""

from __future__ import annotations

import json
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.service.conftest import Start
from tests.service.harness import API, OBEDIENT, REQUEST_TIMEOUT, Service, connect, lines_of, refused, turns, version

#: What makes a status large: a text that update_status takes and that fills the history soon.
LARGE = {"text": "x" * 240_000}


# --- what is seen -----------------------------------------------------------------------------------------------------


def test_a_watch_replays_everything_and_follows_to_the_end(start: Start) -> None:
    service = start()
    service.make_ready()
    service.do("train")
    with service.watch(0) as events:
        first = next(events)
        assert (first["eventType"], version(first["payload"]), first["payload"]["state"]) == ("added", 1, "started")
        service.post("shutdown")
        rest = list(events)
    assert {event["eventType"] for event in rest} == {"modified"}
    versions = [version(event["payload"]) for event in (first, *rest)]
    assert versions == list(range(1, len(versions) + 1))
    assert states(first, *rest) == [
        "started",
        "initializing",
        "initialized",
        "building_model",
        "ready",
        "training",
        "ready",
        "terminating",
        "terminated",
    ]
    assert service.wait_exit() == 0


def test_a_watch_from_a_version_begins_right_after_it(service: Service) -> None:
    ready = service.make_ready()
    trained = service.do("train")
    with service.watch(version(ready)) as events:
        seen = take_until(events, trained)
    assert [version(event["payload"]) for event in seen] == list(range(version(ready) + 1, version(trained) + 1))
    assert states(*seen) == ["training", "ready"]
    assert seen[-1]["payload"] == trained


def test_the_answer_of_a_post_is_where_a_watch_can_begin(service: Service) -> None:
    service.make_ready()
    accepted = service.post("train")
    with service.watch(version(accepted)) as events:
        assert version(next(events)["payload"]) == version(accepted) + 1
    with service.watch(version(accepted) - 1) as events:
        assert next(events)["payload"] == accepted


def test_a_watch_that_knows_everything_waits_for_news(service: Service) -> None:
    service.make_ready()
    ready = service.settled()
    with service.watch(version(ready)) as events:
        accepted = service.post("train")
        assert next(events)["payload"] == accepted


def test_every_status_of_a_watch_is_what_the_status_was(service: Service) -> None:
    service.make_ready(train="steps_for_ever")
    status = service.post("train")
    service.wait(lambda s: turns(s) > 5, status)
    service.do("pause")
    paused = service.settled()
    assert paused["state"] == "paused"
    with service.watch(version(status)) as events:
        seen = take_until(events, paused)
    assert seen[-1]["payload"] == paused == service.status()
    done = [turns(event["payload"]) for event in seen]
    assert done == sorted(done)


def test_a_line_is_a_line_whatever_the_model_put_into_it(service: Service) -> None:
    text = 'line feed \n, next line \x85, separators \u2028 \u2029, return \r, tab \t, quote "'
    ready = service.make_ready()
    latest = service.do("updateStreamProperties", {text: text})
    with service.watch(version(ready)) as events, sse(service, last_event_id=str(version(ready))) as messages:
        for seen in (take_until(events, latest), take_until((m["data"] for m in messages), latest)):
            assert seen[-1]["payload"]["payload"][text] == text


def test_without_watch_the_version_changes_nothing(service: Service) -> None:
    settled = service.settled()
    assert service.api.get("/status?resourceVersion=0").json() == settled
    assert service.api.get("/status?watch=false&resourceVersion=99").json() == settled


@pytest.mark.parametrize("query", ["", "&resourceVersion=", "&resourceVersion=None"])
def test_a_watch_without_a_version_begins_with_the_present_and_continues(service: Service, query: str) -> None:
    service.make_ready()
    ready = service.settled()
    with service.api.stream("GET", f"/status?watch=true{query}") as response, sse(service, query) as messages:
        lines = (json.loads(line) for line in lines_of(response) if line.strip())
        watches = (lines, (message["data"] for message in messages))
        assert [next(watch)["payload"] for watch in watches] == [ready, ready]
        trained = service.do("train")
        for watch in watches:
            assert take_until(watch, trained)[0]["payload"]["state"] == "training"


def test_a_version_that_is_none_is_refused_before_any_stream_begins(service: Service) -> None:
    for query in ("resourceVersion=x", "resourceVersion=-1", f"resourceVersion={2**63}"):
        refused(service.api.get(f"/status?watch=true&{query}"))


# --- what is lost -----------------------------------------------------------------------------------------------------


def test_a_version_that_has_fallen_out_of_the_history_is_reported_with_the_gap(start: Start) -> None:
    service = start()
    service.make_ready()
    for number in range(40):
        service.do("updateStreamProperties", {**LARGE, "number": number})
    latest = service.status()
    for after in (0, 1):
        with service.watch(after) as events:
            seen = take_until(events, latest)
        first = version(seen[0]["payload"])
        assert seen[0]["missed"] == {"from": after + 1, "to": first - 1}
        assert str(first - 1) in seen[0]["note"]
        assert [version(event["payload"]) for event in seen] == list(range(first, version(latest) + 1))
        assert all("missed" not in event for event in seen[1:])
    # What asks for the present has missed nothing that it asked for.
    with service.watch() as events:
        first_event = next(events)
    assert "missed" not in first_event
    assert first_event["payload"] == latest


def test_a_version_of_an_earlier_life_gets_the_present_and_a_note(service: Service) -> None:
    service.make_ready()
    ready = service.settled()
    for after in (version(ready) + 1, version(ready) + 1000, 2**62):
        with service.watch(after) as events:
            event = next(events)
        assert event["payload"] == ready
        assert event["missed"] == {"from": version(ready) + 1, "to": after}
        assert "earlier process" in event["note"]


# --- Server-Sent Events -----------------------------------------------------------------------------------------------


def test_the_same_events_come_as_server_sent_events(start: Start) -> None:
    service = start()
    service.make_ready()
    with service.watch(0) as events:
        service.do("train")
        with sse(service, "&resourceVersion=0") as messages:
            service.post("shutdown")
            seen = list(messages)
        lines = list(events)
    assert [message["data"] for message in seen] == lines
    assert {message["event"] for message in seen} == {"status"}
    assert [int(message["id"]) for message in seen] == [version(event["payload"]) for event in lines]


def test_a_browser_that_reconnects_continues_after_the_last_event_it_saw(service: Service) -> None:
    service.make_ready()
    service.do("train")
    trained = service.settled()
    with sse(service, "&resourceVersion=0") as messages:
        last = next(messages)
    # It repeats the query it began with; the header wins.
    with sse(service, query="&resourceVersion=1000000", last_event_id=last["id"]) as messages:
        following = next(messages)
    assert int(following["id"]) == int(last["id"]) + 1
    with sse(service, last_event_id=str(version(trained))) as messages:
        service.post("train")
        assert next(messages)["data"]["payload"]["state"] == "training"


def test_the_gap_is_reported_in_server_sent_events_too(service: Service) -> None:
    service.make_ready()
    ready = service.settled()
    with sse(service, last_event_id="123456789") as messages:
        message = next(messages)
    assert message["data"]["missed"] == {"from": version(ready) + 1, "to": 123456789}


# --- idle, early, slow, many ------------------------------------------------------------------------------------------


def test_signs_of_life_come_while_nothing_happens(start: Start) -> None:
    service = start("--keepalive", "0.05")
    latest = service.status()
    for accept, sign in (("*/*", b" "), ("text/event-stream", b": keepalive\n\n")):
        query = f"/status?watch=true&resourceVersion={version(latest) + 5}"
        with service.api.stream("GET", query, headers={"Accept": accept}) as response:
            seen = b""
            for part in response.iter_raw():
                seen += part
                if seen.endswith(sign * 3):
                    break
            # The first thing is a sign of life, so that the head arrives at once.
            assert seen.startswith(sign)


def test_watchers_that_leave_are_forgotten(service: Service) -> None:
    service.wait_for_metric("mistk_watchers", 0)
    with ExitStack() as stack:
        socks = [stack.enter_context(raw_watch(service)) for _ in range(20)]
        service.wait_for_metric("mistk_watchers", 20)
        for sock in socks[:5]:
            sock.close()
        service.wait_for_metric("mistk_watchers", 15)
        for sock in socks[5:10]:
            # A client that is killed: the connection is reset.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
        service.wait_for_metric("mistk_watchers", 10)
    service.wait_for_metric("mistk_watchers", 0)


def test_a_slow_reader_holds_nobody_up_and_learns_what_it_missed(start: Start) -> None:
    service = start()
    ready = service.make_ready()
    slow = connect_with_little_room(service)
    with slow, service.watch(version(ready)) as events:
        slow.sendall(watch_request(version(ready)))
        fast: list[dict[str, Any]] = []
        for number in range(120):
            latest = service.do("updateStreamProperties", {**LARGE, "number": number})
            fast += take_until(events, latest)
        assert [version(event["payload"]) for event in fast] == list(range(version(ready) + 1, version(latest) + 1))
        with slow.makefile("rb") as stream:
            late = take_until(read_lines(stream), latest)
    versions = [version(event["payload"]) for event in late]
    assert versions == sorted(set(versions))
    missed = [event["missed"] for event in late if "missed" in event]
    assert missed, "the reader lost nothing; it was not slow"
    # What it saw and what it was told to have missed is everything.
    lost = {number for gap in missed for number in range(gap["from"], gap["to"] + 1)}
    assert sorted(lost | set(versions)) == list(range(version(ready) + 1, version(latest) + 1))


def test_all_watchers_get_the_identical_bytes(start: Start) -> None:
    service = start("--keepalive", "1000")
    ready = service.make_ready(train="steps_for_ever")
    with ExitStack() as stack:
        query = f"/status?watch=true&resourceVersion={version(ready)}"
        watches = [stack.enter_context(service.api.stream("GET", query)) for _ in range(10)]
        status = service.post("train")
        service.wait(lambda s: turns(s) > 30, status)
        # Late ones, which get by replay what the others got live.
        watches += [stack.enter_context(service.api.stream("GET", query)) for _ in range(10)]
        service.post("shutdown")
        bodies = [watch.read() for watch in watches]
    assert len(bodies[0].splitlines()) >= 4, "training, a report at least, terminating, terminated"
    assert set(bodies) == {bodies[0]}


def test_a_thousand_idle_watchers_cost_no_thread_and_the_status_is_answered(start: Start) -> None:
    with room_for_files(2500):
        service = start()
        service.make_ready(train="steps_for_ever")
        process = psutil.Process(service.process.pid)
        service.settled()  # so that the threads that open the store are none of these
        threads = process.num_threads()
        with ExitStack() as stack:
            watches = [stack.enter_context(raw_watch(service)) for _ in range(1000)]
            service.wait_for_metric("mistk_watchers", 1000)
            # A thread for a moment's work may have come or gone; one for each watcher would be a thousand.
            assert process.num_threads() < threads + 5
            for _ in range(50):
                assert service.status()["state"] == "ready"
            # And all of them hear of what happens.
            accepted = service.post("train")
            for sock in watches:
                with sock.makefile("rb") as stream:
                    assert take_until(read_lines(stream), accepted)[-1]["payload"] == accepted
            assert process.num_threads() < threads + 5
        service.wait_for_metric("mistk_watchers", 0)


def test_more_watchers_than_the_shell_allows_files_are_served(tmp_path: Path) -> None:
    """A soft limit is for those who do not know better; macOS has 256."""
    with room_for_files(1000):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
        try:
            service = Service("serve", OBEDIENT, "--port", "0", cwd=tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with service, ExitStack() as stack:
            for _ in range(300):
                stack.enter_context(raw_watch(service))
            service.wait_for_metric("mistk_watchers", 300)
            assert service.status()["state"] == "started"


# --- means ------------------------------------------------------------------------------------------------------------


def states(*events: dict[str, Any]) -> list[str]:
    """The states that the events go through, each once in a row."""
    seen = [event["payload"]["state"] for event in events]
    return [state for number, state in enumerate(seen) if number == 0 or seen[number - 1] != state]


def take_until(events: Iterator[dict[str, Any]], last: dict[str, Any]) -> list[dict[str, Any]]:
    """The events up to that of the status ``last``."""
    seen = []
    for event in events:
        seen.append(event)
        if version(event["payload"]) == version(last):
            return seen
    raise AssertionError(f"The watch ended before version {version(last)}.")


@contextmanager
def sse(service: Service, query: str = "", last_event_id: str | None = None) -> Iterator[Iterator[dict[str, Any]]]:
    """Open a watch as Server-Sent Events and give its messages."""
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_event_id} if last_event_id else {})
    with service.api.stream("GET", f"/status?watch=true{query}", headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        yield messages_of(response)


def messages_of(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """The messages of a stream of Server-Sent Events, each with its fields; comments are left out."""
    message: dict[str, Any] = {}
    for line in lines_of(response):
        if not line and message:
            yield {**message, "data": json.loads(message["data"])}
            message = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            message[name] = value


def watch_request(after: int) -> bytes:
    """The request that opens a watch."""
    return f"GET {API}/status?watch=true&resourceVersion={after} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def raw_watch(service: Service) -> socket.socket:
    """A watch over a socket of its own, that nobody reads yet."""
    sock = connect(service.port)
    sock.sendall(watch_request(0))
    return sock


def connect_with_little_room(service: Service) -> socket.socket:
    """A connection that takes little before it is read."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(REQUEST_TIMEOUT)
    sock.connect(("127.0.0.1", service.port))
    return sock


def read_lines(stream: Any) -> Iterator[dict[str, Any]]:
    """The events of a watch read from a bare connection, where lines of HTTP's chunks stand in between."""
    for line in stream:
        text = line.strip()
        if text.startswith(b'{"eventType"'):
            yield json.loads(text)


@contextmanager
def room_for_files(count: int) -> Iterator[None]:
    """Let this process, and what it starts, hold so many files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard not in (resource.RLIM_INFINITY, -1) and hard < count:
        pytest.skip(f"needs {count} open files, and the system allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
