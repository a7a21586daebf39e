"""Measures how fast the page shows runs and charts, in a real browser on a separate tracking server.

``make bench-page`` runs it; it needs ``chromium`` and ``chromedriver``::

    python -m benchmarks.page [--rounds 5] [--runs 10000] [--points 1000000]
"""

from __future__ import annotations

import argparse
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

from benchmarks.table import machine, markdown

#: Maximum seconds for an element to appear.
WAIT_TIMEOUT = 120

#: Names and targets of the figures, in the order of the table.
TARGETS = {
    "first paint, ms": 300,
    "transfer of the first view, KB": 200,
    "runs listed, ms": 300,
    "chart painted after its data, ms": 100,
    "the server's answer to a chart, ms": None,
    "its size, KB": None,
    "four steps of zoom, until the curve is exact, ms": None,
}

#: Runs before the page does, and notes when the browser paints for the first time.
NOTE_PAINT = """
window.painted = null;
new PerformanceObserver(list => { window.painted ??= list.getEntries()[0].startTime })
  .observe({type: 'paint', buffered: true});
"""

#: The time of the frame in which a condition first holds, in ms since the page was opened.
WHEN = """
const done = arguments[arguments.length - 1];
const holds = new Function(`return ${arguments[0]}`);
(function look() {
  if (holds()) requestAnimationFrame(() => setTimeout(() => done(performance.now())));
  else requestAnimationFrame(look);
})();
"""
LISTED = "document.querySelectorAll('.grid-row').length > 5"
DRAWN = "document.querySelector('.chart')?.dataset.drawn"


@contextmanager
def tracking_server(folder: Path) -> Iterator[str]:
    """Serve a store in ``folder``, and yield its URL."""
    command = [sys.executable, "-m", "mistk_service", "tracking", "serve", "--port", "0"]
    command += ["--store", f"sqlite:///{folder}/tracking.db", "--artifacts", str(folder / "artifacts")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            found = None
            for line in process.stdout:
                if found := re.search(r"at (http://\S+)", line):
                    break
            if found is None:
                raise SystemExit("The tracking server did not start.")
            yield found[1]
        finally:
            process.terminate()


@contextmanager
def browser(**logs: str) -> Iterator[webdriver.Chrome]:
    """Start Chromium, which keeps the logs that are named with a level."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        raise SystemExit("This benchmark needs chromium and chromedriver.")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    options.set_capability("goog:loggingPrefs", logs)
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server"):
        options.add_argument(flag)
    options.add_argument("--window-size=1600,1000")
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    try:
        chrome.set_script_timeout(WAIT_TIMEOUT)
        chrome.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": NOTE_PAINT})
        yield chrome
    finally:
        chrome.quit()


def fill(url: str, folder: Path, runs: int, points: int) -> tuple[str, str]:
    """Write many runs, and one with a long metric; return the experiment of the runs and the id of the one."""
    with httpx.Client(base_url=f"{url}/api/2.0/mlflow/", timeout=60) as http:

        def post(path: str, **body: Any) -> Any:
            return http.post(path, json=body).raise_for_status().json()

        def run(experiment: str, number: int) -> str:
            created = post("runs/create", experiment_id=experiment, run_name=f"run {number}", start_time=1000 + number)
            run_id = str(created["run"]["info"]["run_id"])
            metrics = [{"key": f"metric{i}", "value": number / (i + 1), "timestamp": 1, "step": 0} for i in range(5)]
            params = [{"key": f"param{i}", "value": str(number % (i + 2))} for i in range(5)]
            post("runs/log-batch", run_id=run_id, metrics=metrics, params=params)
            return run_id

        many = str(post("experiments/create", name="many runs")["experiment_id"])
        for number in range(runs):
            run(many, number)
        long = str(post("experiments/create", name="long")["experiment_id"])
        run_id = str(post("runs/create", experiment_id=long, start_time=1)["run"]["info"]["run_id"])
        post("runs/log-metric", run_id=run_id, key="loss", value=0.5, timestamp=0)
    insert = """
        WITH RECURSIVE step(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM step WHERE n < ?)
        INSERT INTO metrics SELECT id, 'loss', 10 * n, n, (n * 7919 % 1000) / 1000.0, 0 FROM step, runs WHERE run_id = ?
    """
    with closing(sqlite3.connect(folder / "tracking.db", timeout=60)) as database, database:
        database.execute(insert, (points - 1, run_id))
    return many, run_id


def opened(chrome: webdriver.Chrome, url: str, view: str) -> Callable[[str], float]:
    """Open a view with an empty cache; return a function that waits for a condition and returns its time in ms."""
    chrome.get("about:blank")
    chrome.execute_cdp_cmd("Network.clearBrowserCache", {})
    chrome.get(f"{url}/#{view}")
    return lambda condition: float(chrome.execute_async_script(WHEN, condition))


def measure(chrome: webdriver.Chrome, url: str, experiment: str, run_id: str) -> dict[str, float]:
    """Return the figures of one round."""
    found: dict[str, float] = {}
    when = opened(chrome, url, f"/experiments/{experiment}")
    found["runs listed, ms"] = when(LISTED)
    WebDriverWait(chrome, WAIT_TIMEOUT, 0.05).until(lambda _: chrome.execute_script("return window.painted"))
    found["first paint, ms"] = chrome.execute_script("return window.painted")
    transferred = (
        "return performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))"
        ".reduce((sum, each) => sum + each.transferSize, 0)"
    )
    found["transfer of the first view, KB"] = chrome.execute_script(transferred) / 1000

    when = opened(chrome, url, f"/runs/{run_id}?tab=charts&x=step")
    painted = when(DRAWN)
    entry = chrome.execute_script(
        "const [e] = performance.getEntriesByType('resource').filter(e => e.name.includes('get-columns'));"
        "return [e.requestStart, e.responseEnd, e.transferSize]"
    )
    found["chart painted after its data, ms"] = painted - entry[1]
    found["the server's answer to a chart, ms"] = entry[1] - entry[0]
    found["its size, KB"] = entry[2] / 1000
    started = float(chrome.execute_script("return performance.now()"))
    chrome.execute_script("document.querySelector('.chart').focus()")
    chrome.execute_script(
        "const c = document.querySelector('.chart');"
        "for (let i = 0; i < 4; i++) c.dispatchEvent(new KeyboardEvent('keydown', {key: '+', bubbles: true}))"
    )
    exact = when("document.querySelector('.chart').dataset.range !== 'all'")
    found["four steps of zoom, until the curve is exact, ms"] = exact - started
    return found


def main() -> None:
    """Measure, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=1_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, tracking_server(Path(name)) as url:
        experiment, run_id = fill(url, Path(name), given.runs, given.points)
        with browser() as chrome:
            rounds = [measure(chrome, url, experiment, run_id) for _ in range(given.rounds)]
    print(f"{machine()}\n{given.runs:,} runs, a metric of {given.points:,} points, medians of {given.rounds} rounds\n")
    medians = {figure: statistics.median(each[figure] for each in rounds) for figure in TARGETS}
    lines = [(name, f"{medians[name]:,.0f}", f"under {target}" if target else "") for name, target in TARGETS.items()]
    print(markdown(("what", "measured", "target"), lines))


if __name__ == "__main__":
    main()
