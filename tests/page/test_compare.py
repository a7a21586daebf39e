"""Runs beside each other, sweeps, and registered models."""

from __future__ import annotations

import pytest
from selenium import webdriver

from tests.page.browser import theme
from tests.page.test_manners import complaints
from tests.page.test_runs import PICTURE
from tests.page.tracked import Tracked

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]  # the first one waits for the browser


def test_compared_runs_show_what_differs_in_an_address_to_share(site: Tracked) -> None:
    experiment = site.experiment("compared")
    for name, rate in (("one", "0.1"), ("two", "0.2")):
        site.run(
            experiment, name, params={"rate": rate, "same": "x"}, metrics={"loss": float(rate)}, tags={"team": "red"}
        )
    site.open(f"/experiments/{experiment}")
    site.click(".grid-head input")
    site.click("a.button", "Compare 2")
    site.reads("one", "two", "rate", "0.1", "0.2", "loss")
    assert "same" not in site.texts(".compared th")
    site.click("label", "Only what differs")
    site.until(lambda: "same" in site.texts(".compared th"))
    site.open(site.chrome.current_url.partition("#")[2])
    site.until(lambda: "same" in site.texts(".compared th"))


def test_compared_files_are_a_diff_or_pictures_with_a_slider(site: Tracked) -> None:
    experiment = site.experiment("compared files")
    runs = [site.run(experiment, name) for name in ("one", "two")]
    lines = [f"line {n}" for n in range(40)]
    site.upload(runs[0], "log.txt", "\n".join([*lines, "old", "end"]).encode())
    site.upload(runs[1], "log.txt", "\n".join([*lines, "new", "newer", "end"]).encode())
    site.upload(runs[0], "only.txt", b"alone")
    for run in runs:
        site.upload(run, "a.png", PICTURE)
    site.open(f"/compare?runs={','.join(runs)}&tab=files&path=log.txt")
    site.until(lambda: site.texts(".diff .gone") == ["- old"])
    assert site.texts(".diff .come") == ["+ new", "+ newer"]
    assert "line 10" not in site.texts(".diff")[0]
    site.go(f"/compare?runs={','.join(runs)}&tab=files&path=only.txt")
    site.reads("alone", "The run does not have this file.")
    site.go(f"/compare?runs={','.join(runs)}&tab=files&path=a.png")
    slider = site.until(lambda: site.all(".pictures input"))[0]
    site.chrome.execute_script("arguments[0].value = 80; arguments[0].dispatchEvent(new Event('input'))", slider)
    clip = "return getComputedStyle(document.querySelector('.above')).clipPath"
    assert site.chrome.execute_script(clip) == "inset(0px 0px 0px 80%)"


def test_a_comparison_of_one_run_says_how_to_compare(site: Tracked) -> None:
    site.open("/compare?runs=x")
    site.reads("The address names fewer than two runs.")


def test_a_sweep_is_drawn_over_its_params_and_narrowed_on_an_axis(site: Tracked) -> None:
    experiment = site.experiment("sweep")
    for n in range(12):
        params = {"rate": str(10 ** -(n % 6)), "model": "tree" if n % 2 else "net", "same": "1"}
        site.run(experiment, f"run {n}", params=params, metrics={"loss": float(n)})
    site.open(f"/experiments/{experiment}?tab=sweep")
    site.reads("12 of 12 runs")
    assert (
        len(site.all("[aria-label='Parallel coordinates'] > path, svg[aria-label='Parallel coordinates'] > path")) == 12
    )
    assert len(site.all("circle")) == 12
    axis = site.all("svg[aria-label='Parallel coordinates'] g rect:last-child")[0]
    webdriver.ActionChains(site.chrome).move_to_element(axis).click_and_hold().move_by_offset(
        0, 100
    ).release().perform()
    site.until(lambda: " of 12 runs" in site.text and "12 of 12 runs" not in site.text)


def test_a_model_shows_its_versions_and_what_they_were_made_of(site: Tracked) -> None:
    experiment = site.experiment("models")
    run = site.run(experiment, "trained", metrics={"accuracy": 0.75})
    dataset = {"name": "images", "digest": "1a2b", "source_type": "local", "source": "train.csv"}
    site.post("runs/log-inputs", run_id=run, datasets=[{"dataset": dataset, "tags": []}])
    site.run(experiment, "evaluated", metrics={"f1": 0.5}, tags={"mistk.madeFromRunId": run})
    site.post("registered-models/create", name="its digits", description="Reads *digits*.")
    for _ in range(2):
        site.post("model-versions/create", name="its digits", source=f"runs:/{run}/model", run_id=run)
    site.open("/models")
    site.click(".list a", "its digits")
    site.reads("2 versions", "Reads digits.")
    site.click("#version-1-card button", "Alias")
    site.answer("champion")
    site.reads("@champion")
    assert site.get("registered-models/alias", name="its digits", alias="champion")["model_version"]["version"] == "1"
    site.chrome.execute_script(
        "const s = document.querySelector('#version-2-card select'); s.value = 'Production';"
        "s.dispatchEvent(new Event('change'))"
    )
    site.until(
        lambda: (
            site.get("model-versions/get", name="its digits", version="2")["model_version"]["current_stage"]
            == "Production"
        )
    )
    site.go("/models/its%20digits/versions/1")
    site.reads("trained", "images", "1a2b", "accuracy 0.75", "evaluated", "f1 0.5")
    site.click("[aria-label='Remove the alias champion']")
    site.until(lambda: "@champion" not in site.text)
    site.click("#version-2-card button", "Delete")
    site.answer()
    site.reads("1 version")
    site.go("/models")
    site.reads("its digits", "latest version 1")


def test_axe_finds_nothing_in_any_view_and_none_is_wider_than_a_phone(site: Tracked) -> None:
    experiment = site.experiment("manners")
    runs = [site.run(experiment, f"run {n}", params={"rate": str(n)}, metrics={"a/loss": float(n)}) for n in range(3)]
    for n, run in enumerate(runs):
        site.upload(run, "figures/note.md", f"# Note {n}".encode())
        site.upload(run, "results.json", b'{"confusion_matrix": [[9, 1], [2, 7]], "roc_curve": [[0, 1], [0, 1]]}')
    model = "well-mannered"
    site.post("registered-models/create", name=model, description="# Of *digits*", tags=[{"key": "a", "value": "b"}])
    site.post("model-versions/create", name=model, source=f"runs:/{runs[0]}/model", run_id=runs[0])
    pair = ",".join(runs[:2])
    views = [
        (f"/experiments/{experiment}", ".grid-row"),
        ("/experiments", ".item"),
        (f"/experiments/{experiment}?group=params.rate", ".group"),
        (f"/experiments/{experiment}?tab=charts", ".chart[data-drawn]"),
        (f"/experiments/{experiment}?tab=sweep", "circle"),
        (f"/runs/{runs[0]}", "#tags-card"),
        (f"/runs/{runs[0]}?tab=files&path=results.json", ".matrix"),
        (f"/compare?runs={pair}", ".compared"),
        (f"/compare?runs={pair}&tab=files&path=figures%2Fnote.md", ".diff"),
        ("/models", ".item"),
        (f"/models/{model}/versions/1", "details dl"),
    ]
    site.open("/experiments")
    try:
        for scheme, width in (("light", 1200), ("dark", 390)):
            screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
            site.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
            with theme(site.chrome, scheme):
                for view, selector in views:
                    site.go(view)
                    site.until(lambda selector=selector: site.all(selector))  # type: ignore[misc]
                    assert complaints(site.chrome) == [], view
                    assert site.chrome.execute_script("return document.documentElement.scrollWidth") <= width, view
    finally:
        site.chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
