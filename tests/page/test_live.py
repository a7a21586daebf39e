"""The page in a real browser, served by a real service that trains a real model."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from mistk_service.client import ModelClient
from mistk_service.resources import plugins_path
from tests.page.browser import await_text, await_true, curve, load, points, rows, seen, text
from tests.service.harness import Service

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]  # the first one waits for the browser

DIGITS = plugins_path() / "digits"


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the container is that all tests share; the last one ends it."""
    folder = tmp_path_factory.mktemp("state")
    with Service("serve", f"{DIGITS / 'model.py'}:Digits", "--port", "0", cwd=folder) as container:
        yield container.url


@pytest.fixture
def url(container: str) -> str:
    """Where a container is that has just started, or has forgotten the training of the test before."""
    with ModelClient(container) as client:
        client.wait_for("started", since=client.reset())
    return container


@pytest.fixture
def page(browser: webdriver.Chrome, url: str) -> Iterator[webdriver.Chrome]:
    browser.get_log("browser")
    load(browser, f"{url}/")
    yield browser
    assert browser.get_log("browser") == []


#: Runs before the page does, and lets no timer of a second or more end.
NO_LATER = """
const usual = window.setTimeout;
window.setTimeout = (call, time = 0, ...rest) => (time < 1000 ? usual(call, time, ...rest) : 0);
"""


def test_the_charts_of_a_training_follow_the_stream_without_asking_from_time_to_time(
    page: webdriver.Chrome, url: str
) -> None:
    added = page.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": NO_LATER})
    try:
        with ModelClient(url) as client:
            client.wait_for("initialized", since=client.initialize(["training"], hyperparameters={"epochs": 1_000_000}))
            client.wait_for("initialized", since=client.load_data(train=DIGITS / "data" / "train.csv"))
            client.wait_for("ready", since=client.build_model())
            client.train()
            await_true(page, lambda: client.status().payload.get("run"))
            run = client.status().payload["run"]["id"]
        load(page, f"{url}/#/runs/{run}?tab=charts")
        points_drawn = "return Number(document.querySelector('.chart')?.dataset.points ?? 0)"
        await_true(page, lambda: page.execute_script(points_drawn) > 0)
        before = page.execute_script(points_drawn)
        await_true(page, lambda: page.execute_script(points_drawn) > before)
    finally:
        page.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_a_page_that_is_loaded_after_a_training_shows_every_point_of_it(page: webdriver.Chrome, url: str) -> None:
    with ModelClient(url) as client:
        client.wait_for("initialized", since=client.initialize(["training"], hyperparameters={"epochs": 150}))
        client.wait_for("initialized", since=client.load_data(train=DIGITS / "data" / "train.csv"))
        client.wait_for("ready", since=client.build_model())
        client.wait_for("ready", since=client.train())
    load(page, f"{url}/")
    await_true(page, lambda: len(points(curve(page, "line"))) == 150)
    assert not seen(page, "metrics-partial")
    await_true(page, lambda: "Run id" in rows(page, "tracking"))
    run = page.find_element(By.CSS_SELECTOR, "#tracking a")
    run_id = str(run.get_property("href")).removeprefix(f"{url}/#/runs/")
    query = {"run_id": run_id, "metric_key": page.find_element(By.CSS_SELECTOR, "#metrics h3").text}
    history = httpx.get(f"{url}/api/2.0/mlflow/metrics/get-history", params=query).json()["metrics"]
    values = [point["value"] for point in history]
    shown = page.find_element(By.CSS_SELECTOR, "#metrics .quiet").text
    assert shown == f"step 150 · {min(values):.4g} to {max(values):.4g}"


def test_every_link_of_the_page_leads_somewhere(page: webdriver.Chrome, url: str) -> None:
    await_true(page, lambda: page.find_elements(By.CSS_SELECTOR, "#links a"))
    links = [str(link.get_property("href")) for link in page.find_elements(By.CSS_SELECTOR, "#links a")]
    assert len(links) == 6
    answers = {
        link.removeprefix(f"{url}/"): httpx.get(link, follow_redirects=True, timeout=30).status_code for link in links
    }
    assert answers.pop("readyz") == 503  # nothing is loaded
    assert set(answers.values()) == {200}


def test_a_training_is_seen_from_its_begin_to_the_end_of_the_service(page: webdriver.Chrome, url: str) -> None:
    await_text(page, "state", "started")
    with ModelClient(url) as client:
        client.wait_for("initialized", since=client.initialize(["training"], hyperparameters={"epochs": 1_000_000}))
        client.wait_for("initialized", since=client.load_data(train=DIGITS / "data" / "train.csv"))
        client.wait_for("ready", since=client.build_model())
        await_text(page, "state", "ready")
        assert text(page, "name") == "Digits"

        client.train()
        await_text(page, "state", "training")
        await_true(page, lambda: seen(page, "bar") and len(points(curve(page, "line"))) > 3)
        assert " of 1,000,000 epochs" in text(page, "progress-text")

        client.pause()
        await_text(page, "state", "paused")
        client.shutdown()
        await_text(page, "state", "terminated")
        assert text(page, "connection").startswith("Terminated.")
