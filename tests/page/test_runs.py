"""Experiments, runs and their files on the page of a tracking server."""

from __future__ import annotations

import io
import json
import zipfile
from urllib.parse import quote

import httpx
import pytest
from selenium.webdriver.common.keys import Keys

from tests.page.tracked import Tracked

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]  # the first one waits for the browser

#: One that would run as a script wherever it is taken for markup.
HOSTILE = "\"'><img src=x onerror=window.attacked=1><script>window.attacked=1</script>"


def names(site: Tracked) -> list[str]:
    """The runs in the table, from above."""
    return site.texts(".grid-row a")


def test_the_links_that_mlflow_prints_lead_to_the_run(site: Tracked) -> None:
    experiment = site.experiment("links")
    run = site.run(experiment, "first", params={"rate": "0.25"}, metrics={"loss": 0.5}, tags={"team": "red"})
    site.upload(run, "model/notes.txt", b"seven lines")
    base = f"/experiments/{experiment}/runs/{run}"
    for view, expected in [
        (base, ("links", "first", "rate", "0.25", "loss", "0.5", "team", "red", "maria", run)),
        (f"/runs/{run}", ("first", "rate")),
        (f"{base}/model-metrics", ("log y", "loss")),
        (f"{base}/artifacts/model/notes.txt", ("seven lines",)),
        (f"/experiments/{experiment}/runs", ("links", "first")),
    ]:
        site.open(view)
        site.reads(*expected)


def test_a_table_of_many_runs_has_only_the_rows_in_sight(site: Tracked) -> None:
    experiment = site.experiment("many")
    for number in range(150):
        site.post("runs/create", experiment_id=experiment, run_name=f"run {number}", start_time=1000 + number)
    site.open(f"/experiments/{experiment}")
    site.until(lambda: names(site)[:2] == ["run 149", "run 148"])
    scroll = (
        "const grid = document.querySelector('.grid'); grid.scrollTop = grid.scrollHeight; return grid.scrollHeight"
    )
    site.until(lambda: site.chrome.execute_script(scroll) >= 150 * 36 and names(site)[-1:] == ["run 0"])
    assert len(names(site)) < 60
    site.reads("150 runs")


def test_a_view_of_the_table_is_in_its_address(site: Tracked) -> None:
    experiment = site.experiment("views")
    for name, rate, loss, model in [("a", "1", 3.0, "tree"), ("b", "2", 1.0, "tree"), ("c", "3", 2.0, "net")]:
        site.run(experiment, name, params={"rate": rate, "model": model}, metrics={"val/loss": loss}, start_time=1)
    site.open(f"/experiments/{experiment}")
    site.click(".grid-head button", "val/loss")
    site.until(lambda: names(site) == ["a", "c", "b"])
    site.click(".grid-head button", "val/loss")
    site.until(lambda: names(site) == ["b", "c", "a"])

    # The filter is completed with the keyboard: a name, a comparator, a value.
    field = site.all("input.filter")[0]
    field.send_keys("mod", Keys.ARROW_DOWN, Keys.ENTER)
    assert field.get_property("value") == "params.model "
    field.send_keys("=", Keys.SPACE, "tr", Keys.ARROW_DOWN, Keys.ENTER)
    assert str(field.get_property("value")).strip() == "params.model = 'tree'"
    field.send_keys(Keys.ENTER)
    site.until(lambda: names(site) == ["b", "a"])

    site.click(".tools button", "Columns")
    for label in ("params · rate", "User"):
        site.click("dialog label", label)
    site.click("dialog button", "Done")
    heads = [head.text for head in site.all(".grid-head > div")]
    assert "rate" not in heads
    assert "User" in heads

    site.chrome.execute_script("localStorage.clear()")
    site.open(site.chrome.current_url.partition("#")[2])
    site.until(lambda: names(site) == ["b", "a"])
    assert [head.text for head in site.all(".grid-head > div")] == heads

    site.all("input.filter")[0].send_keys(Keys.CONTROL, "a")
    site.all("input.filter")[0].send_keys("nonsense <", Keys.ENTER)
    site.until(lambda: site.all("[role=alert]")[0].text)


def test_runs_are_grouped_by_a_param_and_by_their_parent(site: Tracked) -> None:
    experiment = site.experiment("groups")
    parent = site.run(experiment, "parent", params={"model": "net"})
    for name in ("child 1", "child 2"):
        site.run(experiment, name, params={"model": "tree"}, tags={"mlflow.parentRunId": parent})
    site.open(f"/experiments/{experiment}?group=params.model")
    site.until(lambda: sorted(site.texts(".grid .group button")) == ["▾ net", "▾ tree"])
    site.click(".grid .group button", "tree")
    site.until(lambda: names(site) == ["parent"])
    site.go(f"/experiments/{experiment}?group=tags.mlflow.parentRunId")
    site.until(lambda: site.texts(".grid .group button") == ["▾ parent"])
    assert len(names(site)) == 3


def test_runs_and_experiments_are_renamed_deleted_and_restored(site: Tracked) -> None:
    experiment = site.experiment("before")
    run = site.run(experiment, "old")
    site.open(f"/experiments/{experiment}")
    site.click(".grid-row input")
    site.click("button", "Rename")
    site.answer("new")
    site.until(lambda: names(site) == ["new"])
    site.click(".grid-row input")
    site.click("button", "Delete")
    site.answer()
    site.reads("There is no run yet.")
    assert site.get("runs/get", run_id=run)["run"]["info"]["lifecycle_stage"] == "deleted"
    site.go(f"/experiments/{experiment}?view=deleted")
    site.until(lambda: names(site) == ["new"])
    site.click(".grid-row input")
    site.click("button", "Restore")
    site.reads("No run is deleted.")
    assert site.get("runs/get", run_id=run)["run"]["info"]["lifecycle_stage"] == "active"

    site.go("/experiments?find=before")
    site.click("button", "Rename")
    site.answer("after")
    site.reads("No experiment matches.")
    site.go("/experiments?find=after")
    site.click("button", "Delete")
    site.answer()
    site.reads("No experiment matches.")
    site.go("/experiments?find=after&view=deleted")
    site.click("button", "Restore")
    site.until(
        lambda: site.get("experiments/get", experiment_id=experiment)["experiment"]["lifecycle_stage"] == "active"
    )


PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8ffff3f0005fe02fe"
    "0def46b80000000049454e44ae426082"
)
NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "source": ["# A chapter"]},
        {"cell_type": "code", "source": ["1 + 1"], "outputs": [{"data": {"text/plain": ["the answer: 2"]}}]},
    ]
}
FILES: dict[str, tuple[bytes, str, str]] = {
    "notes.md": (b"# Results\n\n* one **bold** point", ".preview strong", "bold"),
    "table.csv": (b'a,b\n1,"x, y"\n', ".preview td:last-child", "x, y"),
    "deep/er/results.json": (b'{"accuracy": 0.5, "more": {"deep": [1]}}', ".preview .number", "0.5"),
    "eval.json": (b'{"confusion_matrix": [[5, 1], [2, 7]], "roc_curve": [[0, 1], [0, 1]]}', ".matrix td", "5"),
    "paper.pdf": (b"%PDF-1.4\n", ".pdf", ""),
    "log.txt": (b"line one", ".preview pre", "line one"),
    "MLmodel": (b"flavors: {}", ".preview pre", "flavors"),
    "report.ipynb": (json.dumps(NOTEBOOK).encode(), ".preview .output", "the answer: 2"),
    "broken.json": (b"{", ".preview pre", "{"),
    "weights.bin": (b"\0\1", ".preview .empty", "not shown"),
}


def test_files_are_shown_by_their_kind_and_come_as_one_archive(site: Tracked) -> None:
    run = site.run(site.experiment("files"), "filed")
    for path, (content, _, _) in FILES.items():
        site.upload(run, path, content)
    site.upload(run, "figures/a.png", PICTURE)
    site.open("/experiments")
    for path, (_, selector, expected) in FILES.items():
        site.go(f"/runs/{run}?tab=files&path={quote(path)}")
        site.shows(selector, expected)
    site.go(f"/runs/{run}?tab=files")
    site.click(".tree summary", "figures")
    site.click(".tree button", "a.png")
    site.until(lambda: site.chrome.execute_script("return document.querySelector('.picture')?.naturalWidth") == 1)
    address = str(
        site.until(lambda: [e for e in site.all("a[download]") if e.text == "Download all"])[0].get_property("href")
    )
    archive = zipfile.ZipFile(io.BytesIO(httpx.get(address).content))
    assert sorted(archive.namelist()) == sorted([*FILES, "figures/a.png"])


#: Runs before the page does, and keeps back what the experiment is called until ``letGo()``.
HOLD_THE_NAME = """
const usual = window.fetch;
window.fetch = async (url, options) => {
  if (String(url).includes("experiments/get?")) await new Promise((done) => { window.letGo = done; });
  return usual(url, options);
};
"""


def test_a_wrong_filter_is_explained_however_late_the_name_of_the_experiment_comes(site: Tracked) -> None:
    experiment = site.experiment("named late")
    added = site.chrome.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": HOLD_THE_NAME})
    try:
        site.open(f"/experiments/{experiment}?filter=nonsense")
        alert = site.until(lambda: [each for each in site.all("[role=alert]") if each.text])[0]
        site.chrome.execute_script("letGo()")
        site.shows("h1", "named late")
        assert alert.is_displayed()
    finally:
        site.chrome.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


#: Keeps the addresses of files in memory that have not been given up.
KEEP_ADDRESSES = """
window.addresses = new Set();
const [make, revoke] = [URL.createObjectURL, URL.revokeObjectURL];
URL.createObjectURL = (blob) => {
  const address = make.call(URL, blob);
  addresses.add(address);
  return address;
};
URL.revokeObjectURL = (address) => {
  addresses.delete(address);
  revoke.call(URL, address);
};
"""


def test_a_pdf_file_leaves_the_memory_when_something_else_is_looked_at(site: Tracked) -> None:
    experiment = site.experiment("papers")
    runs = [site.run(experiment, name) for name in ("one", "two")]
    for run in runs:
        site.upload(run, "paper.pdf", b"%PDF-1.4\n")
        site.upload(run, "text.txt", b"a line")

    def kept() -> int:
        return int(site.chrome.execute_script("return addresses.size"))

    site.open(f"/runs/{runs[0]}?tab=files&path=text.txt")
    site.reads("a line")
    site.chrome.execute_script(KEEP_ADDRESSES)
    for other in (".tree button", "text.txt"), ("[role=tab]", "Overview"):
        site.click(".tree button", "paper.pdf")
        site.until(lambda: site.all("iframe.pdf") and kept() == 1)
        site.click(*other)
        site.until(lambda: not site.all("iframe.pdf") and kept() == 0)

    site.open(f"/compare?runs={','.join(runs)}&tab=values")
    site.reads("Only what differs")
    site.chrome.execute_script(KEEP_ADDRESSES)
    site.click("[role=tab]", "Files")
    site.until(lambda: len(site.all("iframe.pdf")) == kept() == 2)
    site.click("option", "text.txt")
    site.until(lambda: not site.all("iframe.pdf") and kept() == 0)


def test_what_people_write_is_never_markup(site: Tracked) -> None:
    experiment = site.experiment(HOSTILE)
    key = "x/onerror"
    run = site.run(
        experiment,
        HOSTILE,
        params={key: HOSTILE},
        metrics={key: 1.0},
        tags={
            key: HOSTILE,
            "mlflow.note.content": HOSTILE,
            "mlflow.source.git.repoURL": "javascript:window.attacked=1",
        },
    )
    dataset = {"name": HOSTILE, "digest": "1", "source_type": HOSTILE, "source": HOSTILE, "schema": HOSTILE}
    site.post("runs/log-inputs", run_id=run, datasets=[{"dataset": dataset}])
    bad = HOSTILE.encode()
    files = {"a.md": bad + b"\n[x](javascript:window.attacked=1)", "a.txt": bad, "a.csv": bad, "a.html": bad}
    files |= {
        "a.json": json.dumps({HOSTILE: HOSTILE}).encode(),
        "a.svg": b"<svg xmlns='http://www.w3.org/2000/svg'>" + bad,
    }
    files["a.ipynb"] = json.dumps({"cells": [{"cell_type": "markdown", "source": HOSTILE}]}).encode()
    for path, content in files.items():
        site.upload(run, path, content)
    site.post("registered-models/create", name="<b>model", description=HOSTILE, tags=[{"key": "t", "value": HOSTILE}])
    views = [
        ("/experiments", "<script>"),
        (f"/experiments/{experiment}?group=params.{quote(key, safe='')}", "<script>"),
        (f"/experiments/{experiment}?filter={quote(HOSTILE)}&columns={quote(HOSTILE)}", "alert"),
        (f"/runs/{run}", "Lineage".upper()),
        (f"/runs/{run}?tab=charts", key),
        *((f"/runs/{run}?tab=files&path={path}", path) for path in files),
        (f"/runs/{quote(HOSTILE, safe='')}", "not found"),
    ]
    site.open("/models")
    for view, expected in views:
        site.go(view)
        if expected == "alert":
            site.until(lambda: site.all("[role=alert]")[0].text)
        else:
            site.reads(expected)
        assert site.chrome.execute_script("return window.attacked") is None, view
