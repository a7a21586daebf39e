"""The page in a real browser, against a status stream that the tests write."""

from __future__ import annotations

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from mistk_service.kinds.model import MODEL
from tests.page.browser import await_text, await_true, await_version, curve, points, rows, seen, text, theme
from tests.page.conftest import RUN, reopen

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]  # the first one waits for the browser


def test_the_first_status_fills_the_page(page, service) -> None:
    service.send(1, "started", possible=["initialize", "reset", "shutdown"])
    await_text(page, "state", "started")
    assert text(page, "connection") == "Live"
    assert text(page, "name") == "Digits"
    assert text(page, "reference") == "shop/digits.py:Digits"
    assert page.title == "started · Digits"
    assert rows(page, "possible") == ["Initialize", "Reset", "Shutdown"]
    assert text(page, "activity") == "Nothing runs."
    assert not seen(page, "progress")
    assert not seen(page, "error")
    assert not seen(page, "metrics-card")
    assert not seen(page, "notice")


def test_before_the_first_status_the_page_says_nothing_of_the_model(page, service) -> None:
    await_true(page, lambda: page.execute_script("return streams[0]?.readyState === EventSource.OPEN"))
    assert text(page, "connection") == "Connecting …"
    for part in ("state", "activity", "last", "nothing-possible"):
        assert text(page, part) == "…"
    service.send(1, "terminating", possible=[])
    await_text(page, "state", "terminating")
    assert text(page, "connection") == "Live"
    assert text(page, "activity") == "Nothing runs."
    assert text(page, "last") == "None yet."
    assert text(page, "nothing-possible") == "No operation would be accepted."


def test_a_connection_that_is_back_is_live_though_nothing_new_has_come(page, service) -> None:
    service.send(7, "ready")
    await_text(page, "state", "ready")
    service.break_off()
    await_text(page, "connection", "Connection lost, retrying …")
    service.let_in()
    await_text(page, "connection", "Live")


def test_every_state_has_a_colour_and_a_text(page, service) -> None:
    expected = [
        ("ready", "ready", "good"),
        ("loading_data", "loading data", "busy"),
        ("paused", "paused", "wait"),
        ("failed", "failed", "bad"),
        ("initialized", "initialized", "idle"),
    ]
    for version, (state, shown, tone) in enumerate(expected, start=1):
        service.send(version, state)
        await_text(page, "state", shown)
        assert page.find_element(By.ID, "badge").get_attribute("data-tone") == tone


def test_progress_is_a_bar_with_its_figures(page, service) -> None:
    activity = {"operation": "train", "startedAt": "2026-01-02T03:04:00.000Z"}
    progress = {"done": 3, "total": 20, "unit": "epochs", "rate": 1.5123, "timeLeft": 131.3}
    service.send(2, "training", activity=activity, progress=progress)
    await_text(page, "progress-text", "3 of 20 epochs · 15 % · 1.512 epochs/s · 2 min 11 s left")
    assert text(page, "activity").startswith("train, since ")
    bar = page.find_element(By.ID, "bar")
    assert bar.is_displayed()
    assert (bar.get_property("value"), bar.get_property("max")) == (3, 20)


def test_progress_towards_an_unknown_end_is_a_bar_without_a_value(page, service) -> None:
    known = {"done": 3, "total": 20, "unit": "batches", "rate": None, "timeLeft": None}
    service.send(2, "training", progress=known)
    await_text(page, "progress-text", "3 of 20 batches · 15 %")
    service.send(3, "training", progress=known | {"total": None, "rate": 40})
    await_text(page, "progress-text", "3 batches · 40 batches/s")
    assert page.find_element(By.ID, "bar").get_property("position") == -1


def test_a_failure_is_shown_with_its_traceback_and_the_last_output(page, service) -> None:
    error = {
        "type": "ValueError",
        "message": "shapes do not match",
        "traceback": "Traceback (most recent call last):\n  File ...",
        "output": ["epoch 3", "epoch 4"],
    }
    last = {"operation": "train", "outcome": "failed", "seconds": 71.2, "endedAt": "2026-01-02T03:04:05.000Z"}
    service.send(2, "failed", operation="train", error=error, lastActivity=last)
    await_text(page, "error-message", "train failed. ValueError: shapes do not match")
    assert seen(page, "traceback-text")
    assert text(page, "traceback-text") == error["traceback"]
    assert text(page, "output-text") == "epoch 3\nepoch 4"
    assert text(page, "last") == "train failed"
    assert text(page, "last-times").startswith("Took 1 min 11 s, ended ")
    service.send(3, "started")
    await_text(page, "state", "started")
    assert not seen(page, "error")


def test_a_length_of_time_is_said_as_people_say_it(page, service) -> None:
    lengths = {0.0004: "0 ms", 0.25: "250 ms", 1.25: "1.3 s", 42: "42 s", 125: "2 min 5 s", 7322: "2 h 2 min"}
    for version, (seconds, said) in enumerate(lengths.items(), start=1):
        last = {"operation": "train", "outcome": "completed", "seconds": seconds, "endedAt": "2026-01-02T03:04:05.000Z"}
        service.send(version, "ready", lastActivity=last)
        await_version(page, version)
        assert text(page, "last") == "train completed"
        assert text(page, "last-times").startswith(f"Took {said}, ended ")


def test_a_notice_and_a_gap_in_the_history_are_said(page, service) -> None:
    metrics = {"loss": {"value": 1, "step": 1, "timestamp": 1}}
    service.send(9, "ready", notice="The pause had no effect.", metrics=metrics, missed={"from": 2, "to": 8})
    await_text(page, "notice", "The pause had no effect.\nUpdates 2 to 8 were missed; curves may have gaps.")
    assert seen(page, "notice")


def test_what_else_the_status_holds_is_listed(page, service) -> None:
    service.send(
        2,
        "ready",
        params={"rate": 0.1},
        tags={"team": "vision"},
        artifacts=[{"path": "/data/w.npz", "artifactPath": "model"}],
        seen={"images": [1, 2]},
    )
    await_text(page, "state", "ready")
    assert rows(page, "params") == ["rate", "0.1"]
    assert rows(page, "tags") == ["team", "vision"]
    assert rows(page, "artifacts") == ["model", "/data/w.npz"]
    assert rows(page, "further") == ["seen", '{"images":[1,2]}']


def test_the_run_and_the_tracking_are_shown_in_words_with_links(page, service) -> None:
    remotes = [
        {"remote": "https://mlflow.example.org", "connected": True, "depth": 0, "refused": 0},
        {"remote": "gitlab", "connected": False, "depth": 1200, "refused": 2, "lastError": "401 Unauthorized"},
    ]
    tracking = {"store": "sqlite:///tracking.db", "remotes": remotes, "notes": ["A note."], "error": "disk full"}
    service.send(1, "ready", run=RUN, tracking=tracking)
    await_text(page, "state", "ready")
    assert rows(page, "tracking") == [
        *("Run", "calm-owl", "Run id", "5f3c", "Run status", "RUNNING", "Experiment id", "1"),
        *("Store", "sqlite:///tracking.db"),
        *("https://mlflow.example.org", "connected · up to date"),
        *("gitlab", "not connected · 1,200 changes waiting · 2 refused · 401 Unauthorized"),
        *("Problem", "disk full", "Note", "A note."),
    ]
    links = [link.get_property("href") for link in page.find_elements(By.CSS_SELECTOR, "#tracking a")]
    assert links == [f"{service.url}#/runs/5f3c", "https://mlflow.example.org/"]
    assert not seen(page, "facts-card")


def test_an_address_is_a_link_and_a_script_is_not(page, service) -> None:
    tags = {"source": "https://git.example.org/shop", "evil": "javascript:alert(1)", "text": "see https://a.b"}
    service.send(1, "ready", tags=tags, run=RUN | {"link": "javascript:alert(1)"})
    await_text(page, "state", "ready")
    links = page.find_elements(By.CSS_SELECTOR, "main a")
    assert [link.get_property("href") for link in links] == ["https://git.example.org/shop"]


def test_a_value_of_the_models_own_named_run_is_shown_as_it_is(page, service) -> None:
    service.send(1, "ready", run={"distance": 5}, tracking="on foot")
    await_text(page, "state", "ready")
    assert rows(page, "further") == ["run", '{"distance":5}', "tracking", "on foot"]


def test_what_a_visitor_may_not_do_is_named_and_is_no_button(page, service) -> None:
    operations = {name: each | {"permitted": name == "train"} for name, each in service.about["operations"].items()}
    service.about |= {"role": "operator", "operations": operations}
    reopen(page, service)
    service.send(1, "ready", possible=["train", "shutdown"])
    await_text(page, "nothing-possible", "The role operator may not call some of them.")
    assert rows(page, "possible") == ["Train", "Shutdown"]
    assert [button.text for button in page.find_elements(By.CSS_SELECTOR, "#possible button")] == ["Train"]


def lit(page: webdriver.Chrome) -> list[str]:
    """The states of the diagram that are lit."""
    return [state.text for state in page.find_elements(By.CSS_SELECTOR, ".machine .lit, .others .lit")]


def test_the_diagram_has_every_state_and_lights_the_current_one(page, service) -> None:
    service.send(1, "started")
    await_true(page, lambda: lit(page) == ["started"])
    states = [state.text.replace(" ", "_") for state in page.find_elements(By.CSS_SELECTOR, "#machine-card .state")]
    assert sorted(states) == sorted(MODEL.states)
    stations = [state.text for state in page.find_elements(By.CSS_SELECTOR, ".machine .station")]
    assert stations == ["started", "initialized", "ready"]
    service.send(2, "failed")
    await_true(page, lambda: lit(page) == ["failed"])


def test_the_output_and_the_figures_are_shown(page, service) -> None:
    service.live += [
        ("log", {"first": 1, "lines": ["one", HOSTILE]}),
        ("log", {"first": 2, "lines": [HOSTILE, "three"]}),
        (
            "figures",
            {
                **{"inFlight": 3, "failed": 1, "recordsPerSecond": 12.5, "median": 0.0123, "p95": 1.5},
                "system": {"system/cpu_utilization_percentage": 41.5, "system/system_memory_usage_percentage": 3},
            },
        ),
    ]
    reopen(page, service)
    await_true(page, lambda: "12.5 records/s" in rows(page, "predictions"))
    assert text(page, "log-text").splitlines() == ["one", HOSTILE, "three"]
    assert rows(page, "predictions")[1::2] == ["3", "12.5 records/s", "12 ms", "1.5 s", "1"]
    assert rows(page, "usage") == ["Processor41.5 %", "Memory3 %"]


HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


def test_nothing_that_a_model_says_becomes_markup(page, service) -> None:
    service.send(
        2,
        HOSTILE,
        activity={"operation": HOSTILE, "startedAt": HOSTILE},
        progress={"done": 1, "total": 2, "unit": HOSTILE, "rate": 1, "timeLeft": 1},
        metrics={HOSTILE: {"value": HOSTILE, "step": 1, "timestamp": 1}},
        params={HOSTILE: HOSTILE},
        tags={HOSTILE: [HOSTILE]},
        artifacts=[{"path": HOSTILE, "artifactPath": HOSTILE}],
        possible=[HOSTILE],
        lastActivity={"operation": HOSTILE, "outcome": HOSTILE, "seconds": 1, "endedAt": HOSTILE},
        notice=HOSTILE,
        operation=HOSTILE,
        error={"type": HOSTILE, "message": HOSTILE, "traceback": HOSTILE, "output": [HOSTILE]},
        **{HOSTILE: HOSTILE},
    )
    await_text(page, "notice", HOSTILE)
    assert page.execute_script("return document.querySelectorAll('img, main script').length") == 0
    assert rows(page, "possible") == [HOSTILE]
    assert page.title == f"{HOSTILE} · Digits"


def test_a_lost_connection_is_said_and_resumed_where_it_broke(page, service) -> None:
    service.send(7, "ready")
    await_text(page, "state", "ready")
    service.break_off()
    await_text(page, "connection", "Connection lost, retrying …")
    assert text(page, "state") == "ready"
    service.let_in()
    service.send(8, "training")
    await_text(page, "state", "training")
    assert text(page, "connection") == "Live"
    assert [last_id for last_id, _ in service.asked] == [None, "7"]


def test_an_answer_that_is_no_stream_is_asked_again(page, service) -> None:
    service.send(7, "ready")
    await_text(page, "state", "ready")
    service.refuse_once(502)
    service.break_off()
    service.let_in()
    await_true(page, lambda: len(service.asked) == 3)
    assert text(page, "connection") == "Connection lost, retrying …"
    service.let_in()
    service.send(8, "training")
    await_text(page, "state", "training")
    assert text(page, "connection") == "Live"
    # The browser gave up, and forgot its last id; the page remembered.
    assert service.asked[-1] == (None, {"watch": "true", "resourceVersion": "7"})


def test_a_service_that_was_started_anew_is_read_from_its_beginning(page, service) -> None:
    service.send(7, "ready", metrics={"loss": {"value": 1, "step": 1, "timestamp": 1}})
    await_text(page, "state", "ready")
    service.break_off()
    service.let_in()
    # What resumed there belongs to another life; the page asks again, and that answer is the one that counts.
    service.send(9, "initialized", instance="another")
    await_true(
        page, lambda: service.asked[-1] == (None, {"watch": "true", "resourceVersion": "0"}) and len(service.asked) == 3
    )
    service.send(3, "training", instance="another", metrics={"loss": {"value": 5, "step": 2, "timestamp": 2}})
    await_text(page, "state", "training")
    assert len(points(curve(page, "line"))) == 1


def test_after_the_end_nobody_reconnects(page, service) -> None:
    service.send(7, "ready")
    service.send(8, "terminated")
    await_text(page, "connection", "Terminated. Reload the page when the service runs again.")
    await_text(page, "state", "terminated")
    assert page.execute_script("return streams.map(s => s.readyState === EventSource.CLOSED)") == [True]


def test_what_changes_is_announced_and_every_part_has_a_label(page, service) -> None:
    service.send(1, "ready")
    await_text(page, "state", "ready")
    unlabelled = page.execute_script("""
        return [...document.querySelectorAll("section, nav, progress, pre")]
            .filter(e => !e.getAttribute("aria-label") && !document.getElementById(e.getAttribute("aria-labelledby")))
            .map(e => e.outerHTML)""")
    assert unlabelled == []
    assert page.find_elements(By.CSS_SELECTOR, "[aria-live=polite] #state")
    assert page.find_elements(By.CSS_SELECTOR, "#error-message[role=alert]")


def test_nothing_sticks_out_of_a_narrow_or_a_wide_window(page, service) -> None:
    word = "x" * 300
    error = {"type": "E", "message": word, "traceback": word, "output": [word]}
    metrics = {word: {"value": 1e300, "step": 1, "timestamp": 1}}
    service.send(1, "failed", error=error, metrics=metrics, params={word: word}, notice=word, possible=[word])
    await_text(page, "state", "failed")
    try:
        for width in (320, 1400):
            screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
            page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
            assert page.execute_script("return innerWidth") == width
            assert page.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_every_text_stands_out_from_its_ground_in_both_themes(page, service) -> None:
    service.send(1, "failed", notice="n", error={"type": "E", "message": "m", "traceback": "t"}, possible=["reset"])
    await_text(page, "state", "failed")
    for scheme in ("light", "dark"):
        with theme(page, scheme):
            assert page.execute_script(CONTRASTS_BELOW, 4.5) == []


#: The texts in sight whose colour is too near to that of the ground below them, by the formula of WCAG 2.
CONTRASTS_BELOW = """
const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
const linear = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const ground = (e) => {
  for (; e; e = e.parentElement) {
    const c = channels(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] === 1) return c;
  }
  return [255, 255, 255];
};
const contrast = (e) => {
  const [a, b] = [luminance(channels(getComputedStyle(e).color)), luminance(ground(e))];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
};
const own = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
return [...document.body.querySelectorAll("*")]
  .filter((e) => e.checkVisibility() && own(e) && contrast(e) < arguments[0])
  .map((e) => `${e.tagName} ${e.textContent} ${contrast(e).toFixed(2)}`);
"""


def test_the_declared_hyperparameters_are_listed(page, service) -> None:
    service.send(1, "started")
    await_true(page, lambda: seen(page, "declared-card"))
    assert rows(page, "declared") == [
        *("rate", "number, from 0, default 0.1, The size of a step."),
        *("optimizer", "adam or sgd"),
    ]


def test_a_declared_hyperparameter_is_a_field_with_its_default_and_bounds(page, service) -> None:
    service.send(1, "started", possible=["initialize"])
    await_true(page, lambda: page.find_elements(By.CSS_SELECTOR, "[data-operation=initialize]"))
    page.find_element(By.CSS_SELECTOR, "[data-operation=initialize]").click()
    await_true(page, lambda: page.find_elements(By.CSS_SELECTOR, "dialog[open]"))
    rate = page.find_element(By.CSS_SELECTOR, '[data-path="hyperparameters.rate"]')
    assert [rate.get_attribute(name) for name in ("type", "value", "min")] == ["number", "0.1", "0"]
    optimizer = page.find_element(By.CSS_SELECTOR, '[data-path="hyperparameters.optimizer"]')
    assert [option.text for option in optimizer.find_elements(By.TAG_NAME, "option")] == ["not set", "adam", "sgd"]
    # Each objective once, though the contract has two spellings.
    boxes = page.find_elements(By.CSS_SELECTOR, "dialog input[type=checkbox]")
    assert {box.get_property("value") for box in boxes} >= {"training", "streaming_prediction"}
    assert "train" not in {box.get_property("value") for box in boxes}
