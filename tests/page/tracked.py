"""A tracking server with runs, and ways to read its page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
from selenium import webdriver
from selenium.common import StaleElementReferenceException, TimeoutException
from selenium.webdriver.common.by import By

from tests.page.browser import await_true, load
from tests.support.harness import TIMEOUT

if TYPE_CHECKING:
    from selenium.webdriver.remote.webelement import WebElement


class Tracked:
    """A tracking server and a browser that shows its page.

    Attributes:
        url: the server.
        chrome: the browser.
    """

    def __init__(self, http: httpx.Client, chrome: webdriver.Chrome) -> None:
        self.url = str(http.base_url).rstrip("/")
        self.chrome = chrome
        self._http = http

    def post(self, path: str, **body: Any) -> Any:
        """Call an operation of MLflow's API."""
        response = self._http.post(f"/api/2.0/mlflow/{path}", json=body)
        assert response.status_code == 200, response.text
        return response.json()

    def get(self, path: str, **query: Any) -> Any:
        """Read from MLflow's API."""
        return self._http.get(f"/api/2.0/mlflow/{path}", params=query).json()

    def experiment(self, name: str) -> str:
        """Create an experiment."""
        return str(self.post("experiments/create", name=name)["experiment_id"])

    def run(self, experiment: str, name: str = "", **logged: Any) -> str:
        """Create a run with params, metrics and tags as dictionaries."""
        start = logged.pop("start_time", 1_700_000_000_000)
        run = self.post("runs/create", experiment_id=experiment, run_name=name, start_time=start, user_id="maria")
        run_id = str(run["run"]["info"]["run_id"])
        metrics = [{"key": k, "value": v, "timestamp": 1, "step": 0} for k, v in logged.pop("metrics", {}).items()]
        batch = {kind: [{"key": k, "value": v} for k, v in pairs.items()] for kind, pairs in logged.items()}
        self.post("runs/log-batch", run_id=run_id, metrics=metrics, **batch)
        return run_id

    def upload(self, run_id: str, path: str, content: bytes) -> None:
        """Put a file among the artifacts of a run."""
        experiment = self.get("runs/get", run_id=run_id)["run"]["info"]["experiment_id"]
        place = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run_id}/artifacts/{path}"
        self._http.put(place, content=content).raise_for_status()

    def open(self, view: str) -> None:
        """Open a view as from a link that somebody has sent."""
        load(self.chrome, f"{self.url}/#{view}")

    def go(self, view: str) -> None:
        """Go to a view as by a link of the page, and wait until what was there before is gone."""
        before = self.until(lambda: self.all("#view > .view"))
        self.chrome.execute_script("location.hash = arguments[0]", view)
        self.until(lambda: not set(before) & set(self.all("#view > *")))

    def all(self, selector: str) -> list[WebElement]:
        """The elements of a selector."""
        return self.chrome.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        """The texts of a selector's elements."""
        script = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)"
        return list(self.chrome.execute_script(script, selector))

    @property
    def text(self) -> str:
        """All that can be read."""
        return str(self.chrome.execute_script("return document.body.innerText"))

    def until(self, condition: Callable[[], Any]) -> Any:
        """Wait for a condition, and return what it returns; the failure shows the page."""

        def holds() -> Any:
            try:
                return condition()
            except (IndexError, StaleElementReferenceException):
                return False

        try:
            # A chart of many points takes a busy machine more than the usual limit.
            return await_true(self.chrome, holds, 2 * TIMEOUT)
        except TimeoutException:
            raise AssertionError(f"At {self.chrome.current_url} the page says:\n{self.text}") from None

    def reads(self, *expected: str) -> None:
        """Wait until the page says something."""
        self.until(lambda: all(each in self.text for each in expected))

    def shows(self, selector: str, expected: str) -> None:
        """Wait until an element of a selector contains a text."""
        self.until(lambda: any(expected in text for text in self.texts(selector)))

    def click(self, selector: str, text: str = "") -> None:
        """Press the first element of a selector that has a text."""
        self.until(lambda: [e for e in self.all(selector) if text in e.text and e.is_displayed()])[0].click()

    def answer(self, text: str | None = None) -> None:
        """Confirm the dialog, with a text if it asks for one."""
        if text is not None:
            field = self.until(lambda: self.all("dialog input"))[0]
            field.clear()
            field.send_keys(text)
        self.click("dialog button[value=yes]")
        self.until(lambda: not self.all("dialog"))


@contextmanager
def tracked(url: str, chrome: webdriver.Chrome) -> Iterator[Tracked]:
    """A browser for a test; what its console has to complain about is an error of the test."""
    if not chrome.current_url.startswith(f"{url}/"):
        chrome.get(f"{url}/health")
    chrome.execute_script("localStorage.clear()")
    chrome.get_log("browser")
    with httpx.Client(base_url=url, timeout=30) as http:
        yield Tracked(http, chrome)
    messages = [entry["message"] for entry in chrome.get_log("browser") if entry["level"] == "SEVERE"]
    # A request that the server refuses is for the page to show.
    complaints = [message for message in messages if "the server responded with a status of 4" not in message]
    assert complaints == [], complaints
