"""A real browser, and a service that consists of the page and of a status stream which a test writes."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.doors.mistk import problems
from mistk_service.doors.mistk.class_contract import with_signature
from mistk_service.kinds.model import MODEL
from mistk_service.kinds.predictions import Signature
from mistk_service.page import Page
from mistk_service.resources import load_contract
from tests.page.browser import await_true, load
from tests.page.tracked import Tracked, tracked
from tests.support.serving import Switched, served
from tests.tracking.server.conftest import running_server

API = "/v1/mistk"
#: A path below which the page is too, as behind a reverse proxy.
PREFIX = "/models/digits"
HISTORY = "/api/2.0/mlflow/metrics/get-history-bulk-interval"

ABOUT = {
    "name": "Digits",
    "reference": "shop/digits.py:Digits",
    "api": API[1:],
    "tracking": "api/2.0/mlflow",
    "links": [["Swagger UI", "v1/mistk/ui/"], ["Health", "healthz"]],
    "prediction": {
        **{"operation": "streamPredict", "model": "digits", "records": True, "tensors": True, "generates": True},
        "encoding": "base64",
        "inputs": [
            {"name": "pixels", "dtype": "float32", "shape": [-1, 64]},
            {"name": "age", "dtype": "float64", "shape": [-1, 2]},
        ],
    },
    "initial": MODEL.initial,
    "ready": MODEL.ready,
    "states": list(MODEL.states),
    "running": sorted({state for row in MODEL.operations.values() for state in row.running_states}),
    "operations": {
        name: {"role": row.role.value, "streams": row.streams, "permitted": True}
        for name, row in MODEL.operations.items()
    },
}

#: Runs before the page does, and keeps its streams, and those of the status apart, for a test to look at.
RECORD_STREAMS = """
window.streams = [];
window.sources = [];
window.EventSource = class extends EventSource {
  constructor(...args) {
    super(...args);
    window.sources.push(this);
    if (this.url.includes("/status")) window.streams.push(this);
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

CONTRACT = with_signature(
    load_contract(MODEL.contract), Signature(hyperparameters=json.dumps(HYPERPARAMETERS | {"type": "object"}))
)

INSTANCE = "6f1f4f0e-6b0f-4d7e-9a53-1f3a5b7c9d11"

#: A run in a status.
RUN = {
    "id": "5f3c",
    "name": "calm-owl",
    "experimentId": "1",
    "status": "RUNNING",
    "link": "/#/runs/5f3c",
}


class FakeService:
    """The page at ``/`` and a status stream that sends what a test puts into it.

    Attributes:
        url: where the page is.
        asked: for each connection to the stream, in order, its ``(Last-Event-ID, query)``.
        about: what the page stands on.
        live: the events of the stream with the output and the figures, as ``(name, value)``.
        paths: what was asked for.
        history: what the store answers for a metric of a run, by ``(run id, key)``; 404 for any other.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[tuple[str | None, dict[str, str]]] = []
        self.history: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._lines: deque[bytes | None] = deque()
        self._changed = threading.Condition()
        self._open = True
        self._refusal: int | None = None
        self._closed = False
        self.paths: list[str] = []
        self.about: dict[str, Any] = dict(ABOUT)
        self.live: list[tuple[str, Any]] = []

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
        self._change(lines=[f"id: {version}\nevent: status\ndata: {json.dumps(event)}\n\n".encode()])

    def break_off(self) -> None:
        """End the stream, and leave the next connection unanswered until :meth:`let_in`."""
        self._change(is_open=False, lines=[None])

    def refuse_once(self, code: int) -> None:
        """Answer the next connection with an error, as a proxy does whose service is away, and then leave one unanswered."""
        self._refusal = code

    def let_in(self) -> None:
        """Answer connections again."""
        self._change(is_open=True)

    def close(self) -> None:
        """Let go of all connections."""
        self._closed = True
        self._change(is_open=True)

    def _change(self, *, is_open: bool | None = None, lines: Sequence[bytes | None] = ()) -> None:
        with self._changed:
            self._open = self._open if is_open is None else is_open
            self._lines.extend(lines)
            self._changed.notify_all()

    async def _until(self, condition: Callable[[], object]) -> None:
        """Wait for what a test does on its thread."""

        def wait() -> None:
            with self._changed:
                self._changed.wait_for(condition)

        await asyncio.to_thread(wait)

    async def answer(self, page: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, with the page where it is for nothing else."""
        self.paths.append(scope["path"])
        if scope["path"].startswith(f"{PREFIX}/"):
            path = scope["path"].removeprefix(PREFIX)
            scope = {**scope, "path": path, "raw_path": path.encode()}
        request = Request(scope)
        path = scope["path"]
        if path == f"{API}/status":
            app: ASGIApp = await self._stream(request)
        elif path == f"{API}/swagger.json":
            app = JSONResponse(CONTRACT)
        elif path == "/page/live":
            app = StreamingResponse(self._live(), media_type="text/event-stream")
        elif path == HISTORY:
            query = request.query_params
            points = self.history.get((query["run_ids"], query["metric_key"]))
            app = JSONResponse({"metrics": points} if points is not None else {}, 404 if points is None else 200)
        else:
            app = page
        await app(scope, receive, send)

    async def _stream(self, request: Request) -> Response:
        if request.query_params.get("watch") != "true" or "text/event-stream" not in request.headers.get("accept", ""):
            return Response(status_code=404)
        self.asked.append((request.headers.get("last-event-id"), dict(request.query_params)))
        number = len(self.asked)
        self._change()
        await self._until(lambda: self._open)
        if self._refusal:
            code, self._refusal = self._refusal, None
            self._open = False
            return Response("away", status_code=code)
        return StreamingResponse(self._events(number), media_type="text/event-stream")

    async def _live(self) -> AsyncIterator[bytes]:
        for name, value in self.live:
            yield f"event: {name}\ndata: {json.dumps(value)}\n\n".encode()
        await self._until(lambda: self._closed)

    async def _events(self, number: int) -> AsyncIterator[bytes]:
        # The browser's own delay would be seconds.
        yield b"retry: 20\n\n"
        while True:
            await self._until(lambda: self._lines or self._closed or len(self.asked) != number)
            # A connection that has been followed by another gets nothing more.
            if self._closed or len(self.asked) != number or (line := self._lines.popleft()) is None:
                return
            yield line


def reopen(page: webdriver.Chrome, service: FakeService, path: str = "") -> None:
    """Open the page again, and wait until it follows the stream: what is sent then is not for the page before."""
    load(page, f"{service.url}{path}")
    await_true(page, lambda: page.execute_script("return streams.at(-1)?.readyState === EventSource.OPEN"))


@pytest.fixture(scope="session")
def front() -> Iterator[tuple[str, Switched]]:
    """Where the page is, for whichever service is behind it: a browser keeps what it has read from an address."""
    current = Switched()
    page = Page(lambda _: current.about, problems.answer)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await current.answer(page, scope, receive, send)

    with served(app, interface="asgi3") as url:
        yield f"{url}/", current


@pytest.fixture
def service(front: tuple[str, Switched]) -> Iterator[FakeService]:
    url, current = front
    current.target = fake = FakeService(url)
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
    chrome = webdriver.Chrome(options=_options(browser, profile), service=webdriver.ChromeService(driver))
    chrome.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": RECORD_STREAMS})
    yield chrome
    chrome.quit()


@pytest.fixture(scope="module")
def browser(chrome: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """The browser, which leaves its page after the last test of a module and then takes no more time."""
    yield chrome
    chrome.get("about:blank")


@pytest.fixture
def page(browser: webdriver.Chrome, service: FakeService) -> Iterator[webdriver.Chrome]:
    """The browser with the page open; what its console has to complain about is an error of the test."""
    browser.get_log("browser")
    load(browser, service.url)
    yield browser
    complaints = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    # The page stays, since another process of the browser for each test is slow, but does not connect to the next service.
    browser.execute_script("localStorage.clear(); sources.forEach((source) => source.close())")
    assert [c["message"] for c in complaints if "/status" not in c["message"] and HISTORY not in c["message"]] == []


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tracking server."""
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="session")
def url(folder: Path) -> Iterator[str]:
    """A tracking server for all modules; one that looks at a container has a fixture of its own."""
    with running_server(folder) as server:
        yield server.url


@pytest.fixture
def site(url: str, browser: webdriver.Chrome) -> Iterator[Tracked]:
    """The tracking server in the browser."""
    with tracked(url, browser) as site:
        yield site


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
        # All pages are of one machine, and one process less is started for each of them.
        "--process-per-site",
        "--disable-site-isolation-trials",
        "--disable-features=BackForwardCache,SpareRendererForSitePerProcess,IsolateOrigins,site-per-process",
        "--in-process-gpu",
        "--disable-extensions",
        # What moves is drawn sixty times a second, without a graphics card.
        "--force-prefers-reduced-motion",
        "--no-proxy-server",
        "--lang=en",
        "--window-size=1200,1000",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(flag)
    return options
