"""MLflow's own web pages work on this server's store, in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest
from selenium import webdriver
from selenium.common import TimeoutException

from tests.page.browser import await_true
from tests.tracking.server.conftest import running_server

#: Seconds until a page has loaded its code and its data.
TIMEOUT = 50

API = "/api/2.0/mlflow"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_server(tmp_path_factory.mktemp("server"), flags=["--mlflow-ui"]) as server:
        yield server.url


@pytest.fixture(scope="module")
def run_id(url: str) -> str:
    """A run with a bit of everything, and a registered model of it."""

    def post(path: str, **body: Any) -> Any:
        response = httpx.post(f"{url}{API}/{path}", json=body)
        response.raise_for_status()
        return response.json()

    run_id: str = post("runs/create", experiment_id="0", run_name="first", start_time=1)["run"]["info"]["run_id"]
    post("runs/log-parameter", run_id=run_id, key="learning_rate", value="0.25")
    metrics = [{"key": "loss", "value": 1 / step, "step": step, "timestamp": step} for step in range(1, 9)]
    post("runs/log-batch", run_id=run_id, metrics=metrics, tags=[{"key": "team", "value": "red"}])
    dataset = {"name": "images", "digest": "1a2b", "source_type": "local", "source": "train.csv"}
    post("runs/log-inputs", run_id=run_id, datasets=[{"dataset": dataset, "tags": []}])
    file = f"{url}/api/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts/model/notes.txt"
    httpx.put(file, content=b"seven lines of notes").raise_for_status()
    post("registered-models/create", name="digits")
    post("model-versions/create", name="digits", source=f"runs:/{run_id}/model", run_id=run_id)
    return run_id


@pytest.mark.browser
@pytest.mark.timeout(240)
def test_the_pages_of_mlflow_show_what_the_store_has(browser: webdriver.Chrome, url: str, run_id: str) -> None:
    for path, expected in (
        ("/experiments", {"Default"}),
        ("/experiments/0/runs", {"first"}),
        ("/models", {"digits", "Version 1"}),
        (f"/experiments/0/runs/{run_id}", {"first", "learning_rate", "0.25", "loss", "team", "images", "digits"}),
        (f"/experiments/0/runs/{run_id}/artifacts/model/notes.txt", {"notes.txt", "seven lines of notes"}),
        (f"/experiments/0/runs/{run_id}/model-metrics", {"loss"}),
        ("/models/digits/versions/1", {"digits", "first"}),
        ("/experiments/0/runs/0123456789abcdef0123456789abcdef", {"0123456789abcdef0123456789abcdef"}),
    ):
        assert not shows(browser, expected), f"what {path} shall show is on the page before"
        browser.get(f"{url}/mlflow/#{path}")
        try:
            await_true(browser, partial(shows, browser, expected), TIMEOUT)
        except TimeoutException:
            pytest.fail(f"The page lacks one of {expected}:\n{text(browser)}\n{browser.get_log('browser')}")


def shows(chrome: webdriver.Chrome, expected: set[str]) -> bool:
    """Whether all texts can be read on the page."""
    found = text(chrome)
    return all(each in found for each in expected)


def text(chrome: webdriver.Chrome) -> str:
    return str(chrome.execute_script("return document.body.innerText"))


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[1]", b'{"operationName": "GetRun"}', b'{"operationName": "SearchRuns", "variables": {}}']
)
def test_a_graphql_query_that_the_pages_do_not_have_is_refused(url: str, body: bytes) -> None:
    response = httpx.post(f"{url}/mlflow/graphql", content=body)
    assert response.status_code == 400
    assert response.json()["error_code"] == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize("path", ["/mlflow/static-files/nothing.js", "/mlflow/nothing", "/mlflow/../api/2.0/x"])
def test_a_file_that_is_not_there_is_404(url: str, path: str) -> None:
    assert httpx.get(f"{url}{path}").status_code == 404


def test_the_api_is_as_it_is_without_the_pages(url: str) -> None:
    assert httpx.get(f"{url}/health").text == "OK"
    assert httpx.post(f"{url}/mlflow/").status_code == 405
