"""The tracking server inside an application that does not wait for it."""

import asyncio
import threading
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse

from mistk_service.errors import SettingsError
from mistk_service.resources import load_contract
from mistk_service.tracking.embedded.app import DeferredApp, is_tracking_path
from mistk_service.tracking.errors import StoreUnavailable


def ask(app, count=1):
    async def send():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await asyncio.gather(*(client.get("/health") for _ in range(count)))

    return asyncio.run(send())


class Maker:
    """Makes an application when it is let, or raises what it is told to."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.let = threading.Event()

    def __call__(self):
        assert self.let.wait(30)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return PlainTextResponse(outcome)


def test_requests_wait_until_the_application_is_there():
    maker = Maker("made")
    app = DeferredApp(maker)
    asker = threading.Thread(target=lambda: answers.extend(ask(app, 3)))
    answers: list[Any] = []
    asker.start()
    assert answers == []
    maker.let.set()
    asker.join()
    assert [answer.text for answer in answers] == ["made"] * 3
    assert [answer.text for answer in ask(app)] == ["made"]


def test_a_client_that_stops_waiting_takes_nothing_from_the_others():
    maker = Maker("made")
    app = DeferredApp(maker)

    async def never(message=None):
        raise AssertionError

    async def give_up():
        waiting = asyncio.ensure_future(app({"type": "http"}, never, never))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(give_up())
    maker.let.set()
    assert ask(app)[0].text == "made"


@pytest.mark.parametrize("error", [StoreUnavailable("The database is down."), SettingsError("Wrong.")])
def test_a_failure_is_answered_with_the_reason_and_tried_again_later(error):
    maker = Maker(error, "made at last")
    maker.let.set()
    now = [100.0]
    app = DeferredApp(maker, clock=lambda: now[0])
    for _ in range(2):
        (answer,) = ask(app)
        assert (answer.status_code, answer.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
        assert str(error) in answer.json()["message"]
        assert answer.headers["retry-after"] == "5"
    now[0] += 5
    assert ask(app)[0].text == "made at last"


def test_a_failure_that_nobody_expected_tells_nothing(caplog):
    maker = Maker(KeyError("the password"))
    maker.let.set()
    (answer,) = ask(DeferredApp(maker))
    assert (answer.status_code, answer.json()["error_code"]) == (500, "INTERNAL_ERROR")
    assert "password" not in answer.text
    assert "the password" in caplog.text


def test_every_path_of_the_contract_belongs_to_the_tracking_server():
    contract = load_contract("mlflow-api.yaml")
    assert all(is_tracking_path(path) for path in contract["paths"])
    assert is_tracking_path("/ajax-api/2.0/preview/mlflow/runs/get")
    assert is_tracking_path("/api/v4/projects/1/ml/mlflow/api/2.0/mlflow/runs/get")


@pytest.mark.parametrize("path", ["/", "/v1/mistk/status", "/healthz", "/metrics", "/api", "/api/v1/x"])
def test_other_paths_do_not(path):
    assert not is_tracking_path(path)
