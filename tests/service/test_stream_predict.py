"""Every answer of streamPredict belongs to its request, whatever other requests do."""

from __future__ import annotations

import asyncio
import base64
import json
import socket

import httpx
import pytest

from tests.service.conftest import Start
from tests.service.harness import API, REQUEST_TIMEOUT, Service, connect, read_answer, refused
from tests.support.harness import Gate, reference

both_workers = pytest.mark.parametrize("worker", ["process", "thread"])


@both_workers
def test_100_in_a_row_are_each_answered_with_their_own_record(service: Service) -> None:
    service.make_ready()
    for number in range(100):
        assert service.post("streamPredict", request(number)) == answer(number)
    assert service.status()["state"] == "ready"


@both_workers
def test_64_at_a_time_are_each_answered_with_their_own_record(service: Service) -> None:
    service.make_ready()
    answers = asyncio.run(ask_all(service.url, [request(number) for number in range(256)], at_a_time=64))
    assert [response.json() for response in answers] == [answer(number) for number in range(256)]
    assert service.status()["state"] == "ready"


@both_workers
def test_a_guilty_request_among_64_fails_alone(service: Service) -> None:
    service.make_ready()
    bodies = [request(number) for number in range(64)]
    guilty = {5, 40, 41}
    for number in guilty:
        bodies[number] = {"same": base64.b64encode(b"raise").decode()}
    answers = asyncio.run(ask_all(service.url, bodies, at_a_time=64))
    for number, response in enumerate(answers):
        if number in guilty:
            assert "told the model to raise" in refused(response, 500)["message"]
        else:
            assert response.json() == answer(number)


def test_requests_with_and_without_details_are_not_mixed_up(service: Service) -> None:
    service.make_ready()
    bodies = [request(number) for number in range(128)]
    answers = asyncio.run(ask_all(service.url, bodies, at_a_time=64, details=lambda number: number % 3 == 0))
    for number, response in enumerate(answers):
        assert response.json() == answer(number, details=number % 3 == 0)


def test_a_worker_that_dies_answers_all_that_wait(service: Service) -> None:
    service.make_ready()
    bodies = [request(number) for number in range(32)]
    bodies[16] = {"same": base64.b64encode(b"die").decode()}
    answers = asyncio.run(ask_all(service.url, bodies, at_a_time=32))
    codes = [response.status_code for response in answers]
    assert codes[16] == 500
    # Those before it may have their answers, those that came after the failure were refused.
    assert set(codes) <= {200, 400, 500}
    for number, response in enumerate(answers):
        if response.status_code == 200:
            assert response.json() == answer(number)
        else:
            refused(response, response.status_code)


def test_more_than_the_queue_holds_are_refused_for_now(start: Start) -> None:
    service = start("--max-queue", "4")
    service.make_ready()
    worker = service.worker()
    worker.suspend()
    try:
        answers = asyncio.run(ask_all(service.url, [request(n) for n in range(10)], at_a_time=10, resume=worker.resume))
    finally:
        worker.resume()
    full = [response for response in answers if response.status_code == 503]
    assert len(full) == 6
    for response in full:
        refused(response, 503)
        assert int(response.headers["retry-after"]) >= 1
    assert all(r.json() == answer(n) for n, r in enumerate(answers) if r not in full)


def test_clients_that_go_before_their_answer_harm_nobody(service: Service) -> None:
    service.make_ready()
    worker = service.worker()
    worker.suspend()
    try:
        asyncio.run(ask_and_go(service.url, 20))
        assert service.status()["state"] == "predicting"
    finally:
        worker.resume()
    service.wait_for_state("ready", service.status())
    assert service.post("streamPredict", request(1)) == answer(1)


@pytest.mark.parametrize("path", ["compiled", "connexions"])
def test_a_client_that_goes_while_it_waits_gives_its_place_back(start: Start, gate: Gate, path: str) -> None:
    service = held_service(start, gate, "--max-queue", "2")
    content_type = "application/json" if path == "compiled" else "application/json; charset=utf-8"
    holds, waits = (post(service, {"a": record}, content_type) for record in ("hold", "gone"))
    service.wait_for_metric("mistk_stream_queue", 2)
    refused(service.api.post("/streamPredict", json={"a": "full"}), 503)
    waits.close()
    service.wait_for_metric("mistk_stream_queue", 1)
    service.wait_for_metric("mistk_requests_total", 1, operation="streamPredict", status="499")
    with post(service, {"a": "here"}, content_type) as another:
        service.wait_for_metric("mistk_stream_queue", 2)
        gate.tell("g")
        answers = [json.loads(read_answer(sock)[2])["a"] for sock in (holds, another)]
    holds.close()
    assert [answer["record"] for answer in answers] == ["hold", "here"]
    assert [answer["call"] for answer in answers] == [1, 2], "the model was not asked for the one that went"


def test_a_prediction_that_takes_too_long_is_answered_with_504(start: Start, gate: Gate) -> None:
    # Long enough for the model to begin with the one, and to answer the other.
    service = held_service(start, gate, "--stream-timeout", "2.5")
    error = refused(service.api.post("/streamPredict", json={"a": "hold"}), 504)
    assert "longer than 2.5 s (--stream-timeout)" in error["message"]
    assert service.status()["state"] == "predicting", "the model has begun with it"
    gate.tell("g")
    status = service.wait_for_state("ready", service.status())
    assert "error" not in status["payload"]
    assert service.post("streamPredict", {"a": "here"})["a"]["record"] == "here"


def test_a_small_request_overtakes_a_large_one_that_came_before(start: Start, gate: Gate) -> None:
    service = held_service(start, gate)
    worker = service.worker()
    worker.suspend()
    try:
        large = post(service, {"a": "A" * 16_000_000}, "application/json")
        service.wait_for_metric("mistk_stream_queue", 1)
        small = post(service, {"a": "here"}, "application/json")
        service.wait_for_metric("mistk_stream_queue", 2)
    finally:
        worker.resume()
    with large, small:
        answers = [json.loads(read_answer(sock)[2])["a"] for sock in (small, large)]
    assert [answer["call"] for answer in answers] == [1, 2]
    assert len(answers[1]["record"]) == 16_000_000


def held_service(start: Start, gate: Gate, *options: str) -> Service:
    """A service whose model waits at the gate over the record ``hold``, and calls for one request at a time."""
    service = start(*options, model=reference("batching:OneAtATime"))
    service.do("initialize", {"modelProperties": {"gate": str(gate.path)}})
    service.do("buildModel")
    return service


def post(service: Service, body: dict[str, str], content_type: str) -> socket.socket:
    """Send a request over a connection of its own, and leave the answer to be read."""
    content = json.dumps(body).encode()
    sock = connect(service.port)
    head = f"POST {API}/streamPredict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
    sock.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    return sock


def test_other_operations_are_refused_while_predictions_are_in_flight(service: Service) -> None:
    service.make_ready()
    worker = service.worker()
    worker.suspend()
    try:
        asyncio.run(ask_and_go(service.url, 1))
        error = refused(service.api.post("/train"))
    finally:
        worker.resume()
    assert (error["operation"], error["state"]) == ("train", "predicting")
    assert set(error["possible"]) == {"streamPredict", "reset", "shutdown"}
    service.wait_for_state("ready", service.status())


def request(number: int) -> dict[str, str]:
    """A body with identifiers that all requests share, and records that are all different."""
    text = f"record {number}"
    return {"same": encoded(text), "": encoded(text * 2), "same#1": encoded(text * 3)}


def answer(number: int, *, details: bool = False) -> dict[str, object]:
    """What the model answers to it."""
    text = f"record {number}"
    echoes = {"same": text, "": text * 2, "same#1": text * 3}
    return {key: {"echo": echo, "details": details} for key, echo in echoes.items()}


def encoded(text: str) -> str:
    """A record."""
    return base64.b64encode(text.encode()).decode()


async def ask_all(url, bodies, *, at_a_time, details=lambda number: False, resume=None) -> list[httpx.Response]:
    """Send all the requests, so many at a time; return the answers in the order of the requests."""
    turn = asyncio.Semaphore(at_a_time)
    limits = httpx.Limits(max_connections=at_a_time)
    refusals = 0

    async with httpx.AsyncClient(base_url=url + API, timeout=REQUEST_TIMEOUT, limits=limits) as client:

        async def ask(number: int) -> httpx.Response:
            nonlocal refusals
            async with turn:
                query = {"details": str(details(number)).lower()}
                response = await client.post("/streamPredict", json=bodies[number], params=query)
            refusals += response.status_code == 503
            if resume and refusals == 6:
                resume()
            return response

        return await asyncio.gather(*(ask(number) for number in range(len(bodies))))


async def ask_and_go(url: str, count: int) -> None:
    """Send requests and close the connections once the service has them all in flight."""
    async with httpx.AsyncClient(
        base_url=url + API, timeout=REQUEST_TIMEOUT, limits=httpx.Limits(max_connections=None)
    ) as client:
        asking = [asyncio.create_task(client.post("/streamPredict", json=request(n))) for n in range(count)]
        while f"mistk_stream_queue {float(count)}" not in (await client.get(f"{url}/metrics")).text:
            pass
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
