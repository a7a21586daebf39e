"""Measures how fast the pages of trackers show one long metric, and how much of it reaches the browser.

A metric of a million points with one spike is logged to each tracker with its own client. Then a browser opens the
page of its server that has the chart; the trackers take turns. ``make bench-page-peers`` runs it; it needs ``chromium`` and
``chromedriver``::

    python -m benchmarks.peers_page --python .venv-trackers/bin/python [--rounds 5] [--points 1000000] [--folder FOLDER]

``--folder`` keeps what was logged for another time. ``--only aim`` looks at one of them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from matplotlib.image import imread
from selenium import webdriver
from selenium.common import TimeoutException
from selenium.webdriver.common.by import By

from benchmarks.page import DRAWN, WAIT_TIMEOUT, WHEN, browser, tracking_server
from benchmarks.peers.trackers import PLACE, SPIKE
from benchmarks.servers import free_port
from benchmarks.table import machine

#: Whether a canvas has been painted on.
PAINTED = """(() => {{
  const canvas = document.querySelector('{0}');
  if (!canvas?.width) return false;
  const {{data}} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  for (let i = 0; i < data.length; i += 4) if (Math.abs(data[i] - data[i + 2]) > 60) return true;
  return false;
}})()"""


@dataclass(frozen=True)
class Tracker:
    """A tracker and its page.

    Attributes:
        name: for the table.
        client: how the client logs, for the table.
        command: serves ``{folder}`` at ``{port}``, below the environment's ``bin``.
        settings: its environment variables.
        ready: an address that is answered once the page can be shown.
        complete: the contents of the answer once the server has read everything, with the ``{last}`` step.
        view: the address of the chart of a ``{run}``.
        drawn: JavaScript that is true once the curve is drawn.
        plot: the element with the curve.
        data: a part of the address from which the page reads the curve.
        points: the number of points in the JSON of such an answer.
    """

    name: str
    client: str
    command: str
    ready: str
    view: str
    drawn: str
    plot: str
    data: str
    points: Callable[[Any], int]
    settings: dict[str, str] = field(default_factory=dict)
    complete: str = ""


TRACKERS = {
    "ours": Tracker(
        "mistk-service",
        "log-batch of 1,000",
        "",
        "/health",
        "/#/runs/{run}?tab=charts&x=step",
        DRAWN,
        ".chart .u-over",
        "get-columns",
        lambda answer: sum(4 * len(curve["columns"]) for curve in answer["curves"]),
    ),
    "mlflow": Tracker(
        "MLflow",
        "`MlflowClient.log_batch` of 1,000",
        "mlflow server --workers 1 --port {port} --backend-store-uri sqlite:///{folder}/mlflow.db "
        "--artifacts-destination {folder}/artifacts",
        "/health",
        "/#/experiments/0/runs/{run}/model-metrics",
        "document.querySelector('.js-plotly-plot .scatterlayer path.js-line')?.getAttribute('d')",
        ".js-plotly-plot",
        "get-history-bulk-interval",
        lambda answer: len(answer["metrics"]),
        {"MLFLOW_DISABLE_TELEMETRY": "true"},
    ),
    "tensorboard": Tracker(
        "TensorBoard",
        "`tensorboard.summary.Writer`",
        "tensorboard --logdir {folder} --port {port}",
        "/data/plugin/scalars/scalars?run=run&tag=loss",
        "/#timeseries",
        "document.querySelector('line-chart path')?.getAttribute('d')",
        "line-chart .series-view",
        "timeSeries",
        lambda answer: sum(len(series) for each in answer for series in each["runToSeries"].values()),
        complete="{last},",
    ),
    "aim": Tracker(
        "Aim",
        "`Run.track`",
        "aim up --yes --repo {folder} --port {port}",
        "/api/projects/",
        "/runs/{run}/metrics",
        "document.querySelector('.LineChart path.Line')?.getAttribute('d')",
        ".LineChart",
        "get-batch",
        lambda answer: max(len(each["values"]) for each in answer),
        {"AIM_UI_TELEMETRY_ENABLED": "0"},
    ),
    "trackio": Tracker(
        "trackio",
        "`trackio.log`",
        "trackio show --project long",
        "/",
        "/?project=long",
        PAINTED.format(".vega-embed canvas"),
        ".vega-embed canvas",
        "get_logs_batch",
        lambda answer: sum(len(each["logs"]) for each in answer["data"]),
        {"BROWSER": "true", "GRADIO_SERVER_PORT": "{port}", "TRACKIO_DIR": "{folder}"},
    ),
}


@dataclass
class Look:
    """The measurements of one visit to a page.

    Attributes:
        painted: milliseconds until the chart is painted.
        size: kilobytes that were transferred until then.
        points: points of the curve that reached the browser.
        received: whether the spike was among them.
        seen: whether the spike is on the screen.
    """

    painted: float
    size: float
    points: int
    received: bool
    seen: bool


@contextlib.contextmanager
def serving(tracker: Tracker, python: Path, folder: Path, complete: str = "") -> Iterator[str]:
    """Serve the data of a tracker in a folder, and yield the URL."""
    if not tracker.command:
        with tracking_server(folder) as url:
            yield url
        return
    place = {"folder": str(folder), "port": str(free_port())}
    program, *arguments = tracker.command.format(**place).split()
    settings = {name: value.format(**place) for name, value in tracker.settings.items()}
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    with (folder.parent / f"{folder.name}.log").open("w") as log:
        process = subprocess.Popen(
            [str(python.parent / program), *arguments],
            env={**os.environ, **settings, "PATH": path},
            stdout=log,
            stderr=log,
        )
    url = f"http://127.0.0.1:{place['port']}"
    try:
        await_answer(f"{url}{tracker.ready}", complete, process)
        yield url
    finally:
        for each in (psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.terminate()
        process.wait(WAIT_TIMEOUT)


def await_answer(address: str, content: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers with a content."""
    for _ in range(10 * WAIT_TIMEOUT):
        with contextlib.suppress(httpx.HTTPError):
            answer = httpx.get(address, trust_env=False)
            if answer.is_success and content in answer.text:
                return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise SystemExit(f"{address} does not answer.")


def logged(name: str, python: Path, folder: Path, points: int) -> tuple[float, str]:
    """Log the series to a tracker unless it has it; return the seconds that this took, and the id of the run."""
    note = folder.parent / f"{folder.name}.json"
    if not note.exists():
        folder.mkdir(parents=True)
        script = Path(__file__).parent / "peers" / "trackers.py"
        with contextlib.ExitStack() as stack:
            server = name in ("ours", "mlflow")
            place = stack.enter_context(serving(TRACKERS[name], python, folder)) if server else str(folder)
            interpreter = sys.executable if name == "ours" else str(python)
            printed = subprocess.run(
                [interpreter, str(script), name, place, str(points)], check=True, stdout=subprocess.PIPE, text=True
            ).stdout
        note.write_text(json.dumps(printed.splitlines()[-1].split()))
    seconds, run = json.loads(note.read_text())
    return float(seconds), str(run)


def look(chrome: webdriver.Chrome, tracker: Tracker, url: str, run: str) -> Look:
    """Open the page with the chart, with nothing in the cache."""
    painted = None
    while painted is None:
        chrome.get("about:blank")
        chrome.execute_cdp_cmd("Network.clearBrowserCache", {})
        chrome.get_log("performance")
        chrome.get(f"{url}{tracker.view.format(run=run)}")
        # Chromium gives up its requests when the network of the machine changes, and not every page asks again.
        with contextlib.suppress(TimeoutException):
            painted = float(chrome.execute_async_script(WHEN, tracker.drawn))
    answers: dict[str, str] = {}
    size = 0.0
    bodies = []
    for entry in chrome.get_log("performance"):
        event = json.loads(entry["message"])["message"]
        given = event["params"]
        if event["method"] == "Network.responseReceived":
            answers[given["requestId"]] = given["response"]["url"]
        elif event["method"] == "Network.loadingFinished":
            size += given["encodedDataLength"]
            if tracker.data in answers.get(given["requestId"], ""):
                body = chrome.execute_cdp_cmd("Network.getResponseBody", {"requestId": given["requestId"]})
                bodies.append(body["body"])
    return Look(
        painted,
        size / 1000,
        max(tracker.points(json.loads(body)) for body in bodies),
        any(re.search(rf"\b{SPIKE}\b", body) for body in bodies),
        is_seen(chrome, tracker),
    )


def is_seen(chrome: webdriver.Chrome, tracker: Tracker) -> bool:
    """Return whether the curve is low but for a narrow spike at two thirds of its width."""
    image = imread(io.BytesIO(chrome.find_element(By.CSS_SELECTOR, tracker.plot).screenshot_as_png))[:, :, :3]
    rows, columns = np.nonzero(np.ptp(image, axis=2) > 0.19)
    if not len(rows):
        return False
    left, right = columns.min(), columns.max()
    high = columns[rows < (rows.min() + rows.max()) / 2]
    low_share, high_share = np.array([high.min() - left, high.max() - left]) / (right - left)
    return bool(high_share - low_share < 0.05 and low_share - 0.02 < PLACE < high_share + 0.02)


def main() -> None:
    """Log, measure, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, required=True, help="the interpreter that has the trackers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", choices=TRACKERS, action="append")
    given = parser.parse_args()
    python, names = given.python.absolute(), given.only or list(TRACKERS)
    with contextlib.ExitStack() as stack:
        folder = (given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))).absolute()
        chrome = stack.enter_context(browser(performance="ALL"))
        chrome.set_script_timeout(WAIT_TIMEOUT / 2)
        times, runs, urls = {}, {}, {}
        for name in names:
            times[name], runs[name] = logged(name, python, folder / name, given.points)
        for name in names:
            complete = TRACKERS[name].complete.format(last=given.points - 1)
            urls[name] = stack.enter_context(serving(TRACKERS[name], python, folder / name, complete))
        looks: dict[str, list[Look]] = {name: [] for name in names}
        for _ in range(given.rounds):
            for name in names:
                looks[name].append(look(chrome, TRACKERS[name], urls[name], runs[name]))
                print(name, looks[name][-1], file=sys.stderr)
    load = os.getloadavg()[0]
    print(
        f"{machine()}, load average {load:.1f}\nA metric of {given.points:,} points, medians of {given.rounds} rounds\n"
    )
    print("| page | logged with | points/s | chart painted | transferred | points that reach the browser | the spike |")
    print("|---|---|---|---|---|---|---|")
    for name in names:
        print(row(TRACKERS[name], given.points / times[name], looks[name]))


def row(tracker: Tracker, rate: float, looks: list[Look]) -> str:
    """Return the row of a tracker; a result only counts if it is the same in every visit."""
    painted, size = (statistics.median(getattr(each, what) for each in looks) for what in ("painted", "size"))
    seen, received = all(each.seen for each in looks), all(each.received for each in looks)
    spike = "seen" if seen else "received" if received else "lost"
    cells = (
        tracker.name,
        tracker.client,
        f"{rate:,.0f}",
        f"{painted:,.0f} ms",
        f"{size:,.0f} KB",
        f"{looks[-1].points:,}",
    )
    return f"| {' | '.join(cells)} | {spike} |"


if __name__ == "__main__":
    main()
