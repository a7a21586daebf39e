"""Long responses are streamed, equal the pages, and stop when the client disconnects."""

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from starlette.requests import ClientDisconnect

from mistk_service.tracking import open_store
from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.server import create_tracking_app
from mistk_service.tracking.server.pieces import in_pieces, piecewise
from mistk_service.tracking.values import Metric, Param
from mistk_service.tracking.values.page import Page
from mistk_service.web.disconnect import ON_DISCONNECT

RUNS, POINTS = 450, 3000


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A client of a server with many runs, one of which has a long history."""
    folder = tmp_path_factory.mktemp("many")
    with open_store(f"sqlite:///{folder}/tracking.db") as store:
        experiment = store.create_experiment("many")
        made = [store.submit_run(experiment, run_name=f"r{n}", start_time=n) for n in range(RUNS)]
        run_ids = [each.result(30).info.run_id for each in made]
        for run_id in run_ids[::7]:
            store.log_batch(run_id, [Metric("m", 0.5, 1)], [Param("p", "v" * 5000)])
        for first in range(0, POINTS, 1000):
            store.log_batch(run_ids[0], [Metric("long", float(n), n, n) for n in range(first, first + 1000)])
        for n in range(250):
            store.create_experiment(f"e{n}")
        transport = httpx.ASGITransport(create_tracking_app(store, open_artifacts(folder / "artifacts")))

        def request(method, path, **arguments):
            async def send():
                async with httpx.AsyncClient(transport=transport, base_url="http://server") as http:
                    return await http.request(method, f"/api/2.0/mlflow/{path}", **arguments)

            return asyncio.run(send())

        ask: Any = request
        ask.experiment, ask.run_ids = experiment, run_ids
        yield ask


def pages(client, size, **body):
    found: list[Any] = []
    token = None
    while token is not None or not found:
        answer = client("POST", "runs/search", json={**body, "max_results": size, "page_token": token or ""}).json()
        found += answer["runs"]
        token = answer.get("next_page_token")
        if token is None:
            return found
    raise AssertionError


@pytest.mark.parametrize("order", [[], ["metrics.m DESC", "attributes.start_time ASC"]], ids=["default", "by a metric"])
def test_a_long_search_is_the_same_in_one_answer_as_in_pages(client, order):
    body = {"experiment_ids": [client.experiment], "order_by": order}
    answer = client("POST", "runs/search", json={**body, "max_results": 50_000})
    assert "content-length" not in answer.headers
    assert list(answer.json()) == ["runs"]
    assert answer.json()["runs"] == pages(client, 100, **body)
    assert len(answer.json()["runs"]) == RUNS


def test_the_token_of_a_long_page_leads_to_the_rest(client):
    body = {"experiment_ids": [client.experiment]}
    answer = client("POST", "runs/search", json={**body, "max_results": 300}).json()
    rest = client("POST", "runs/search", json={**body, "max_results": 300, "page_token": answer["next_page_token"]})
    assert (len(answer["runs"]), len(rest.json()["runs"])) == (300, RUNS - 300)
    assert list(rest.json()) == ["runs"]
    assert answer["runs"] + rest.json()["runs"] == pages(client, 450, **body)


def test_a_short_answer_has_its_length_and_an_empty_one_is_an_empty_object(client):
    body = {"experiment_ids": [client.experiment], "max_results": 50}
    short = client("POST", "runs/search", json=body)
    assert int(short.headers["content-length"]) == len(short.content)
    assert list(short.json()) == ["runs", "next_page_token"]
    empty = client("POST", "runs/search", json={**body, "filter": "params.p = 'none'"})
    assert empty.json() == {}


@pytest.mark.parametrize("max_results", [-1, 0, 50_001])
def test_a_search_that_is_refused_is_refused_before_anything_is_sent(client, max_results):
    body = {"experiment_ids": [client.experiment], "max_results": max_results}
    answer = client("POST", "runs/search", json=body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_a_history_comes_whole_and_in_pages(client):
    query = {"run_id": client.run_ids[0], "metric_key": "long"}
    whole = client("GET", "metrics/get-history", params=query).json()
    assert [point["step"] for point in whole["metrics"]] == list(range(POINTS))
    assert list(whole) == ["metrics"]
    page = client("GET", "metrics/get-history", params={**query, "max_results": 1000}).json()
    assert page["metrics"] == whole["metrics"][:1000]
    rest = client("GET", "metrics/get-history", params={**query, "page_token": page["next_page_token"]}).json()
    assert rest["metrics"] == whole["metrics"][1000:]


def test_a_sample_of_many_runs_has_them_one_after_the_other(client):
    run_ids = [client.run_ids[7], client.run_ids[1], client.run_ids[0]]
    for key, expected in (
        ("m", [(run_ids[0], 0), (run_ids[2], 0)]),
        ("long", [(run_ids[2], 0), (run_ids[2], POINTS - 1)]),
    ):
        query = {"run_ids": run_ids, "metric_key": key, "max_results": 2}
        answer = client("GET", "metrics/get-history-bulk-interval", params=query).json()
        assert [(point["run_id"], point["step"]) for point in answer["metrics"]] == expected
    assert client("GET", "metrics/get-history-bulk-interval", params={"run_ids": "x", "metric_key": "m"}).json() == {}
    too_many = client("GET", "metrics/get-history-bulk-interval", params={"run_ids": ["x"] * 101, "metric_key": "m"})
    assert too_many.status_code == 400


def test_all_experiments_are_listed_at_once(client):
    found = client("GET", "experiments/list").json()
    assert [e["experiment_id"] for e in found["experiments"]] == [str(n) for n in range(252)]
    assert list(found) == ["experiments"]


def test_a_piece_has_no_more_than_a_few_hundred_kilobytes_however_long_the_results():
    asked = []

    def find(count, token):
        first = int(token or 0)
        asked.append(count)
        return Page(tuple(range(first, first + count)), str(first + count))

    text = "x" * 5000
    pieces = list(in_pieces("runs", find, lambda found: [text] * len(found), 50_000, 50_000, None))
    assert json.loads(b"".join(pieces)) == {"runs": [text] * 50_000, "next_page_token": "50000"}
    assert sum(asked) == 50_000
    assert max(map(len, pieces)) <= 1.5 * 2**18


def test_nothing_more_is_made_for_a_client_that_has_gone():
    made = []
    gone = asyncio.Event()
    stopped = threading.Event()

    def pieces():
        for number in range(1000):
            made.append(number)
            if number > 1:
                assert stopped.wait(30)
            yield b"x"

    async def receive():
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if message.get("body"):
            gone.set()

    async def main():
        with ThreadPoolExecutor(1) as executor:
            response = await piecewise(pieces(), {}, executor)
            await response({"type": "http", "method": "GET"}, receive, send)
            stopped.set()

    asyncio.run(main())
    assert len(made) <= 3


def test_what_waits_for_a_thread_is_not_begun_when_its_client_has_gone():
    begun = []

    def pieces():
        begun.append(True)
        yield b"{}"

    def on_disconnect(callback):
        if callback is not None:
            callback()

    async def main():
        free = threading.Event()
        with ThreadPoolExecutor(1) as executor:
            executor.submit(free.wait, 30)
            with pytest.raises(ClientDisconnect):
                await piecewise(pieces(), {ON_DISCONNECT: on_disconnect}, executor)
            await asyncio.sleep(0)  # the cancellation is handed on
            free.set()

    asyncio.run(main())
    assert begun == []
