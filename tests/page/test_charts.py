"""Charts of metrics: no point is lost, whatever is chosen."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.page.tracked import Tracked

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]  # the first one waits for the browser

#: Points of a long metric: more than a hundred for each pixel of a chart. `make bench-page` draws a million.
MANY = 200_000
#: The step of the one point among them that is high; the others are between 0 and 1.
SPIKE = 123_456

#: Where a chart has pixels of its first curve in its uppermost fifth, from 0 (left) to 1 (right); null for nowhere.
TOP = """
const chart = document.querySelector(`.chart[data-key="${arguments[0]}"]`);
const [canvas, over] = [chart.querySelector('canvas'), chart.querySelector('.u-over')];
const ratio = canvas.width / canvas.clientWidth;
const [width, height] = [over.clientWidth * ratio, over.clientHeight * ratio];
const {data} = canvas.getContext('2d').getImageData(over.offsetLeft * ratio, over.offsetTop * ratio, width, height / 5);
const found = [];
for (let i = 0; i < data.length; i += 4) {
  const [r, g, b, a] = data.slice(i, i + 4);
  if (a > 40 && b > r + 60 && b > g + 30) found.push((i / 4) % Math.floor(width) / width);
}
return found.length ? [Math.min(...found), Math.max(...found)] : null;
"""


@pytest.fixture
def long_run(folder: Path, site: Tracked) -> str:
    """A run with a metric of many points."""
    run = site.run(site.experiment("long"), "long", metrics={"loss": 0.5})
    points = f"""
        WITH RECURSIVE step(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM step WHERE n < {MANY - 1})
        INSERT INTO metrics SELECT id, 'loss', 1700000000000 + 10 * n, n,
            CASE n WHEN {SPIKE} THEN 100.0 ELSE (n * 7919 % 1000) / 1000.0 END, 0 FROM step, runs WHERE run_id = ?
    """
    with closing(sqlite3.connect(folder / "tracking.db", timeout=60)) as database, database:
        database.execute(points, (run,))
    return run


def chart(site: Tracked, key: str, **expected: Any) -> None:
    """Wait until a chart is drawn, with what its dataset has to say."""

    def drawn() -> bool:
        data = site.chrome.execute_script(
            "return {...document.querySelector(`.chart[data-key='${arguments[0]}']`)?.dataset}", key
        )
        return "drawn" in data and all(data.get(name) == str(value) for name, value in expected.items())

    site.until(drawn)


def test_one_spike_among_200_000_points_is_seen_at_every_zoom(site: Tracked, long_run: str) -> None:
    for half, settings in (
        (None, "&smooth=0.9&band=1"),
        (None, ""),
        (100, ""),
    ):
        low, high = (0, MANY) if half is None else (SPIKE - half, SPIKE + 2 * half)
        query = "" if half is None else f"&range={low},{high}"
        site.open(f"/runs/{long_run}?tab=charts&x=step{settings}{query}")
        chart(site, "loss", range="all" if half is None else f"{low} {high}", points=MANY)
        found = site.chrome.execute_script(TOP, "loss")
        assert found is not None, f"nothing is seen of the spike in {low} to {high}"
        place = (SPIKE - low) / (high - low)
        assert found[0] - 0.02 < place < found[1] + 0.02
        assert found[1] - found[0] < 0.05


def shown_range(site: Tracked) -> list[float]:
    """The part of the horizontal axis that is in the address; nothing for all of it."""
    _, _, part = site.chrome.current_url.replace("%2C", ",").partition("range=")
    return list(map(float, part.partition("&")[0].split(","))) if part else []


def drag(site: Tracked, *keys: str, share: int) -> None:
    """Drag over the first chart, from its left quarter over a part of its width."""
    over = site.all(".chart .u-over")[0]
    width = over.size["width"]
    actions = webdriver.ActionChains(site.chrome).move_to_element_with_offset(over, -width // 4, 0)
    for key in keys:
        actions = actions.key_down(key)
    actions = actions.click_and_hold().move_by_offset(width // share, 0).release()
    for key in keys:
        actions = actions.key_up(key)
    actions.perform()


def test_a_part_is_chosen_and_moved_with_mouse_and_keys_in_all_charts(site: Tracked) -> None:
    run = site.run(site.experiment("zoom"), "zoom")
    for key in ("a/one", "a/two"):
        points = [{"key": key, "value": math.sin(step / 20), "step": step, "timestamp": step} for step in range(400)]
        site.post("runs/log-batch", run_id=run, metrics=points)
    site.open(f"/runs/{run}?tab=charts")
    chart(site, "a/one", points=400)
    chart(site, "a/two", points=400)
    drag(site, share=2)
    site.until(lambda: shown_range(site) == pytest.approx([100, 300], abs=5))
    ranges = "return new Set([...document.querySelectorAll('.chart')].map(chart => chart.dataset.range)).size"
    site.until(lambda: site.chrome.execute_script(ranges) == 1)
    drag(site, Keys.SHIFT, share=4)
    site.until(lambda: shown_range(site) == pytest.approx([50, 250], abs=8))
    site.all(".chart")[0].send_keys(Keys.ARROW_RIGHT)
    site.until(lambda: shown_range(site) == pytest.approx([90, 290], abs=8))
    site.click("button", "Show all")
    site.until(lambda: not shown_range(site))


def test_a_run_that_goes_on_is_drawn_as_it_goes_on(site: Tracked) -> None:
    run = site.run(site.experiment("live"), "live", metrics={"loss": 1.0})
    site.open(f"/runs/{run}?tab=charts")
    chart(site, "loss", points=1)
    for count in (50, 90):
        points = [{"key": "loss", "value": 1 / step, "step": step, "timestamp": 1} for step in range(1, count)]
        site.post("runs/log-batch", run_id=run, metrics=points)
        chart(site, "loss", points=count)
    site.post("runs/log-metric", run_id=run, key="late", value=1.0, timestamp=1)
    chart(site, "late", points=1)


def test_settings_of_the_charts_are_in_the_address(site: Tracked) -> None:
    experiment = site.experiment("settings")
    runs = []
    for n in range(4):
        run = site.run(experiment, f"run {n}", params={"model": "tree" if n % 2 else "net"})
        points = [
            {"key": key, "value": 1.5 + math.cos(step + n), "step": step, "timestamp": 1_700_000_000_000 + step * 1000}
            for key in ("loss", "speed")
            for step in range(30)
        ]
        site.post("runs/log-batch", run_id=run, metrics=points)
        runs.append(run)
    site.open("/experiments")
    for setting in (
        "smooth=0.9&x=step",
        "x=relative&smooth=0.5",
        "x=time&logy=1&band=1",
        "x=speed",
        "logx=1&average=params.model",
        f"hidden={runs[0]}&big=loss",
    ):
        site.go(f"/experiments/{experiment}?tab=charts&{setting}")
        chart(site, "loss", points=(90 if "hidden" in setting else 120))
        for part in setting.split("&"):
            assert part in site.chrome.current_url.replace("%2C", ",")
    assert "big" in str(site.all(".chart")[0].get_attribute("class"))
    site.until(lambda: site.texts(".legend [aria-pressed=false]") == ["run 0"])


def test_nan_and_infinities_are_marked_and_break_the_line(site: Tracked) -> None:
    run = site.run(site.experiment("nan"), "nan")
    values: list[float | str] = [1.0, 2.0, "NaN", 2.0, "Infinity", 3.0]
    points = [{"key": "m", "value": value, "step": n, "timestamp": n} for n, value in enumerate(values)]
    site.post("runs/log-batch", run_id=run, metrics=points)
    site.open(f"/runs/{run}?tab=charts")
    chart(site, "m", points=6)
    assert site.chrome.execute_script(TOP, "m") is not None


def test_a_chart_is_saved_as_a_file(site: Tracked, tmp_path: Path) -> None:
    run = site.run(site.experiment("saved"), "saved", metrics={"loss": 0.5})
    site.chrome.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    site.open(f"/runs/{run}?tab=charts")
    chart(site, "loss", points=1)
    for kind, start in (("PNG", b"\x89PNG"), ("SVG", b"<svg"), ("CSV", b"run_id,run_name,step")):
        button = site.chrome.find_element(By.CSS_SELECTOR, f"[title*='{kind}']")
        site.chrome.execute_script("arguments[0].click()", button)
        file = tmp_path / f"loss.{kind.lower()}"
        site.until(file.exists)
        assert file.read_bytes().startswith(start)
    assert f"{run},saved,0,1,0.5" in file.read_text()


def test_what_an_evaluation_has_drawn_is_saved_as_a_file(site: Tracked, tmp_path: Path) -> None:
    run = site.run(site.experiment("drawn"), "drawn")
    results = {"confusion_matrix": [[9, 1], [2, 7]], "labels": ["cat", "dog"], "roc_curve": [[0, 0.5, 1], [0, 1, 1]]}
    site.upload(run, "results.json", json.dumps(results).encode())
    site.chrome.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    site.open(f"/runs/{run}?tab=files&path=results.json")
    for title, name, table, words in (
        ("Confusion matrix", "confusion_matrix", ",cat,dog\ncat,9,1\ndog,2,7", {"cat", "dog", "9", "7"}),
        ("ROC", "roc_curve", "0,0\n0.5,1\n1,1", {"0.5", "false positives"}),
    ):
        for kind in ("PNG", "SVG", "CSV"):
            selector = f"[aria-label='Save as {kind}: {title}']"
            button = site.until(lambda selector=selector: site.all(selector))[0]  # type: ignore[misc]
            site.chrome.execute_script("arguments[0].click()", button)
            site.until((tmp_path / f"{name}.{kind.lower()}").exists)
        assert (tmp_path / f"{name}.csv").read_text().endswith(table)
        drawing = ET.parse(tmp_path / f"{name}.svg")
        texts = {element.text for element in drawing.iter("{http://www.w3.org/2000/svg}text")}
        assert texts >= words
        with Image.open(tmp_path / f"{name}.png") as image:
            pixels = np.asarray(image.convert("RGB"))
        assert np.ptp(pixels, axis=2).max() > 50, "nothing has a colour"


@pytest.fixture
def long_metric(folder: Path, site: Tracked) -> Callable[[str, str, dict[int, float]], None]:
    """Logs a value for each step: ``long_metric(run, key, values)``."""

    def long_metric(run: str, key: str, values: dict[int, float]) -> None:
        (step, value), *others = values.items()
        site.post("runs/log-metric", run_id=run, key=key, value=value, step=step, timestamp=1)
        points = "INSERT INTO metrics SELECT id, ?, 1, ?, ?, 0 FROM runs WHERE run_id = ?"
        with closing(sqlite3.connect(folder / "tracking.db", timeout=60)) as database, database:
            database.executemany(points, ((key, step, value, run) for step, value in others))

    return long_metric


def test_the_average_of_a_part_is_that_of_its_points(site: Tracked, long_metric) -> None:
    experiment = site.experiment("averages")
    for first in (0, 1):
        run = site.run(experiment, f"from {first}", params={"model": "tree"})
        long_metric(run, "loss", {step: float(step == 10_000) for step in range(first, 20_000, 2)})
    site.open(f"/experiments/{experiment}?tab=charts&x=step&average=params.model&range=9990,10010")
    chart(site, "loss", points=20_000, range="9990 10010")
    found = site.chrome.execute_script(TOP, "loss")
    assert found is not None, "the only value that is not 0 has no effect on the average"
    assert 0.45 < found[0] <= found[1] < 0.55


def test_a_part_of_a_metric_over_another_shows_all_of_its_points(site: Tracked, long_metric) -> None:
    run = site.run(site.experiment("over a metric"), "one")
    peak, plateau = 10_000, range(9600, 9700)
    long_metric(run, "seen", {step: 2.0 * step for step in range(20_000)})
    long_metric(run, "loss", {step: 2.0 if step == peak else float(step in plateau) for step in range(20_000)})
    site.open(f"/runs/{run}?tab=charts&x=seen&range=19000,21000")
    chart(site, "loss", range="19000 21000")
    found = site.chrome.execute_script(TOP, "loss")
    place = (2 * peak - 19_000) / 2_000
    assert found is not None
    assert place - 0.02 < found[0] <= found[1] < place + 0.02, "the plateau is the highest that is drawn"


def test_settings_stay_when_another_tab_is_looked_at(site: Tracked) -> None:
    experiment = site.experiment("tabs")
    run = site.run(experiment, "tabs", metrics={"loss": 0.5})
    site.open("/experiments")
    for view in (f"/runs/{run}?tab=charts", f"/experiments/{experiment}?tab=charts"):
        site.go(view)
        chart(site, "loss", points=1)
        site.click(".chart-settings label", "log y")
        site.click("[role=tab]", "Table" if "experiments" in view else "Overview")
        site.until(lambda: not site.all(".chart"))
        site.click("[role=tab]", "Charts")
        chart(site, "loss", points=1)
        assert "logy=1" in site.chrome.current_url
        assert site.all(".chart-settings label input:checked")
        site.click(".chart-settings label", "log y")
