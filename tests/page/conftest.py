"""A real browser, and a service that consists of the page and of a status stream which a test writes."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Request, Response

from mistk_service.page import DashboardInfo, create_dashboard

API = "/v1/mistk"
HISTORY = "/api/2.0/mlflow/metrics/get-history-bulk-interval"

#: Runs before the page does, and keeps its streams for a test to look at.
RECORD_STREAMS = """
window.streams = [];
window.EventSource = class extends EventSource {
  constructor(...args) {
    super(...args);
    window.streams.push(this);
  }
};
"""

#: What the contract of the service declares.
HYPERPARAMETERS = {
    "properties": {
        "rate": {"type": "number", "minimum": 0, "default": 0.1, "description": "The size of a step."},
        "optimizer": {"enum": ["adam", "sgd"]},
    }
}

INSTANCE = "6f1f4f0e-6b0f-4d7e-9a53-1f3a5b7c9d11"


class FakeService:
    """The page at ``/`` and a status stream that sends what a test puts into it.

    Attributes:
        asked: for each connection to the stream, in order, its ``(Last-Event-ID, query)``.
        history: what the store answers for a metric of a run, by ``(run id, key)``; 404 for any other.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, dict[str, str]]] = []
        self.history: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._lines: deque[bytes | None] = deque()
        self._changed = threading.Condition()
        self._open = threading.Event()
        self._open.set()
        self._refusal: int | None = None
        page = create_dashboard(DashboardInfo("shop/digits.py:Digits", API, "1.2.3"))
        app = DispatcherMiddleware(
            page.wsgi_app,
            {f"{API}/status": self._stream, f"{API}/swagger.json": self._contract, HISTORY: self._history},
        )
        self._server = ThreadedWSGIServer("127.0.0.1", 0, app, _QuietHandler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self._server.server_port}/"

    def send(self, version: int, state: str, *, instance: str = INSTANCE, **payload: Any) -> None:
        """Put a status into the stream; ``missed`` goes beside it, every other keyword into its payload."""
        missed = payload.pop("missed", None)
        info = {
            "name": "Digits",
            "kind": "ModelInstanceStatus",
            "id": instance,
            "resourceVersion": version,
            "creationTime": "2026-01-02T03:04:00.000Z",
            "modificationTime": "2026-01-02T03:04:05.000Z",
        }
        event = {"eventType": "modified", "payload": {"objectInfo": info, "state": state, "payload": payload}}
        if missed:
            event["missed"] = missed
        self._put(f"id: {version}\nevent: status\ndata: {json.dumps(event)}\n\n".encode())

    def break_off(self) -> None:
        """End the stream, and leave the next connection unanswered until :meth:`let_in`."""
        self._open.clear()
        self._put(None)

    def refuse_once(self, code: int) -> None:
        """Answer the next connection with an error, as a proxy does whose service is away, and then leave one unanswered."""
        self._refusal = code

    def let_in(self) -> None:
        """Answer connections again."""
        self._open.set()

    def close(self) -> None:
        """Stop the server."""
        self._open.set()
        self._put(None)
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _contract(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        definitions = {"ModelInstanceInitParams": {"properties": {"hyperparameters": HYPERPARAMETERS}}}
        return Response(json.dumps({"definitions": definitions}), mimetype="application/json")(environ, start_response)

    def _stream(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        request = Request(environ)
        if request.args.get("watch") != "true" or "text/event-stream" not in request.headers.get("Accept", ""):
            return NotFound()(environ, start_response)
        with self._changed:
            self.asked.append((request.headers.get("Last-Event-ID"), request.args.to_dict()))
            number = len(self.asked)
            self._changed.notify_all()
        self._open.wait()
        if self._refusal:
            code, self._refusal = self._refusal, None
            self._open.clear()
            return Response("away", status=code)(environ, start_response)
        return Response(self._events(number), mimetype="text/event-stream")(environ, start_response)

    def _history(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        query = Request(environ).args
        points = self.history.get((query["run_ids"], query["metric_key"]))
        if points is None:
            return NotFound()(environ, start_response)
        return Response(json.dumps({"metrics": points}), mimetype="application/json")(environ, start_response)

    def _put(self, line: bytes | None) -> None:
        with self._changed:
            self._lines.append(line)
            self._changed.notify_all()

    def _events(self, number: int) -> Iterator[bytes]:
        # The browser's own delay would be seconds.
        yield b"retry: 20\n\n"
        while (line := self._next(number)) is not None:
            yield line

    def _next(self, number: int) -> bytes | None:
        """Wait for the next line; None, the end, too for a connection that has been followed by another."""
        with self._changed:
            self._changed.wait_for(lambda: self._lines or len(self.asked) != number)
            return self._lines.popleft() if len(self.asked) == number else None


class _QuietHandler(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        """A request is nothing to report in a test."""


@pytest.fixture
def service() -> Iterator[FakeService]:
    fake = FakeService()
    yield fake
    fake.close()


@pytest.fixture(scope="session")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        missing = "needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver)"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    profile = tmp_path_factory.mktemp("profile")
    chrome = webdriver.Chrome(options=_options(browser, profile), service=Service(driver))
    chrome.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": RECORD_STREAMS})
    yield chrome
    chrome.quit()


@pytest.fixture
def page(chrome: webdriver.Chrome, service: FakeService) -> Iterator[webdriver.Chrome]:
    """The browser with the page open; what its console has to complain about is an error of the test."""
    chrome.get_log("browser")
    chrome.get(service.url)
    yield chrome
    complaints = [entry for entry in chrome.get_log("browser") if entry["level"] == "SEVERE"]
    # Leave before the server goes, or the next test finds a page that tries to reconnect.
    chrome.get("about:blank")
    assert [c["message"] for c in complaints if "/status" not in c["message"] and HISTORY not in c["message"]] == []


def _options(browser: str, profile: Path) -> webdriver.ChromeOptions:
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-proxy-server",
        "--lang=en",
        "--window-size=1200,1000",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(flag)
    return options
