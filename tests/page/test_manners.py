"""The page is for everybody: keyboard, screen readers, both themes, phones, a prefix, and both servers."""

from __future__ import annotations

from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.page.browser import await_text, await_true, text, theme
from tests.page.conftest import PREFIX, FakeService, reopen
from tests.tracking.server.conftest import running_server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def complaints(page: webdriver.Chrome) -> list[str]:
    """What axe-core has to complain about in the page as it is."""
    axe = pytest.importorskip("axe_core_python.base")
    if not page.execute_script("return 'axe' in window"):
        page.execute_script(axe.AXE_FILE_PATH.read_text(encoding="utf-8"))
    script = "axe.run({resultTypes: ['violations']}).then(arguments[0])"
    found: dict[str, Any] = page.execute_async_script(script)
    return [f"{each['id']}: {node['html'][:200]}" for each in found["violations"] for node in each["nodes"]]


def complaints_in_both_themes(page: webdriver.Chrome) -> list[str]:
    """What axe-core has to complain about in the light theme, and then in the dark one."""
    found = []
    for scheme in ("light", "dark"):
        with theme(page, scheme):
            found += complaints(page)
    return found


def test_axe_finds_nothing_in_what_happens_now_in_its_forms_and_in_the_trial(
    page: webdriver.Chrome, service: FakeService
) -> None:
    service.live += [("log", {"first": 1, "lines": ["one"]})]
    reopen(page, service)
    error = {"type": "E", "message": "m", "traceback": "t", "output": ["o"]}
    metrics = {"loss": {"value": 1, "step": 1, "timestamp": 1}}
    possible = ["initialize", "loadData", "train", "reset"]
    progress = {"done": 1, "total": 2, "unit": "epochs", "rate": None, "timeLeft": None}
    service.send(
        1, "failed", notice="n", error=error, metrics=metrics, possible=possible, progress=progress, tags={"a": "b"}
    )
    await_text(page, "state", "failed")
    await_true(page, lambda: page.find_elements(By.CSS_SELECTOR, ".machine .state"))
    assert complaints_in_both_themes(page) == []
    for operation in ("initialize", "loadData", "reset"):
        page.find_element(By.CSS_SELECTOR, f"[data-operation={operation}]").click()
        await_true(page, lambda: page.find_elements(By.CSS_SELECTOR, "dialog[open]"))
        assert complaints_in_both_themes(page) == []
        webdriver.ActionChains(page).send_keys(Keys.ESCAPE).perform()
        await_true(page, lambda: not page.find_elements(By.TAG_NAME, "dialog"))
    page.get(f"{service.url}#/try")
    await_true(page, lambda: page.find_elements(By.ID, "prompt"))
    for label in ("Tensors", "Records"):
        next(each for each in page.find_elements(By.CSS_SELECTOR, ".choice button") if each.text == label).click()
        assert complaints_in_both_themes(page) == []


def test_an_operation_is_begun_with_the_keyboard_alone(page: webdriver.Chrome, service: FakeService) -> None:
    service.send(1, "started", possible=["initialize", "reset"])
    await_true(page, lambda: page.find_elements(By.CSS_SELECTOR, "[data-operation=reset]"))
    page.execute_script("document.activeElement.blur()")
    for _ in range(30):
        webdriver.ActionChains(page).send_keys(Keys.TAB).perform()
        if page.switch_to.active_element.get_attribute("data-operation") == "reset":
            break
    webdriver.ActionChains(page).send_keys(Keys.ENTER).perform()
    await_true(page, lambda: page.find_elements(By.CSS_SELECTOR, "dialog[open]"))
    webdriver.ActionChains(page).send_keys(Keys.ESCAPE).perform()
    await_true(page, lambda: not page.find_elements(By.TAG_NAME, "dialog"))
    assert page.switch_to.active_element.get_attribute("data-operation") == "reset"


def test_a_chosen_theme_is_kept(page: webdriver.Chrome, service: FakeService) -> None:
    await_text(page, "theme", "Theme: auto")
    page.find_element(By.ID, "theme").click()
    page.find_element(By.ID, "theme").click()
    await_text(page, "theme", "Theme: dark")
    page.refresh()
    await_text(page, "theme", "Theme: dark")
    assert page.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(13, 16, 22)"
    page.find_element(By.ID, "theme").click()
    await_text(page, "theme", "Theme: auto")


def test_the_page_asks_for_nothing_outside_of_the_prefix_that_it_is_below(
    page: webdriver.Chrome, service: FakeService
) -> None:
    service.send(1, "started")
    await_true(page, lambda: page.find_elements(By.CSS_SELECTOR, ".machine .lit"))
    service.paths.clear()
    reopen(page, service, f"{PREFIX[1:]}/")
    service.send(2, "ready", possible=["reset"])
    await_text(page, "state", "ready")
    await_true(page, lambda: page.find_elements(By.CSS_SELECTOR, ".machine .lit"))
    assert [path for path in service.paths if not path.startswith(f"{PREFIX}/")] == []


def test_the_tracking_server_alone_has_the_page_without_a_container(
    chrome: webdriver.Chrome, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running_server(tmp_path_factory.mktemp("alone")) as server:
        chrome.get_log("browser")
        chrome.get(server.url)
        await_text(chrome, "name", "Tracking server")
        await_true(chrome, lambda: "Default" in chrome.find_element(By.TAG_NAME, "main").text)
        views = [each.text for each in chrome.find_elements(By.CSS_SELECTOR, "#views a")]
        assert "Runs" in views
        assert not {"Now", "Try it"} & set(views)
        assert not chrome.find_element(By.ID, "live").is_displayed()
        assert text(chrome, "version").startswith("mistk-service ")
        assert chrome.get_log("browser") == []
        chrome.get("about:blank")
