"""The whole lifecycle of a container, driven by nothing but the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from mistk_service.resources import plugins_path
from tests.page.browser import await_text, await_true
from tests.service.harness import Service

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

DIGITS = plugins_path() / "digits"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("state")
    with Service("serve", f"{DIGITS / 'model.py'}:Digits", "--port", "0", cwd=folder) as container:
        yield container.url


@pytest.fixture
def page(chrome: webdriver.Chrome, url: str) -> Iterator[webdriver.Chrome]:
    chrome.get_log("browser")
    chrome.get(url)
    yield chrome
    complaints = [each["message"] for each in chrome.get_log("browser") if "status of 400" not in each["message"]]
    chrome.get("about:blank")
    assert complaints == []


def press(page: webdriver.Chrome, operation: str) -> None:
    """Press the button of an operation as soon as it is there."""
    button = f"[data-operation={operation}]"
    await_true(page, lambda: page.find_elements(By.CSS_SELECTOR, button))
    page.find_element(By.CSS_SELECTOR, button).click()


def enter(page: webdriver.Chrome, path: str, value: str) -> None:
    """Enter a text into a field of the open dialog."""
    await_true(page, lambda: page.find_elements(By.CSS_SELECTOR, "dialog[open]"))
    control = page.find_element(By.CSS_SELECTOR, f'dialog [data-path="{path}"]')
    control.clear()
    control.send_keys(value)


def confirm(page: webdriver.Chrome) -> None:
    """Press the button of the open dialog that begins the operation."""
    await_true(page, lambda: page.find_elements(By.CSS_SELECTOR, "dialog button.solid"))
    page.find_element(By.CSS_SELECTOR, "dialog button.solid").click()


def closed(page: webdriver.Chrome) -> bool:
    return not page.find_elements(By.TAG_NAME, "dialog")


def test_a_model_goes_through_its_life_by_the_buttons_of_the_page(
    page: webdriver.Chrome, url: str, tmp_path: Path
) -> None:
    press(page, "initialize")
    enter(page, "hyperparameters", '{"epochs": ')
    page.find_element(By.CSS_SELECTOR, "dialog input[value=training]").click()
    confirm(page)
    problem = page.find_element(By.CSS_SELECTOR, "dialog [role=alert]")
    await_true(page, lambda: problem.text.startswith("hyperparameters is not JSON"))
    enter(page, "hyperparameters", '{"epochs": 1000000}')
    confirm(page)
    await_text(page, "state", "initialized")
    await_true(page, lambda: closed(page))

    press(page, "loadData")
    enter(page, "datasets.train.dataPath", "/nowhere.csv")
    confirm(page)
    alert = page.find_element(By.CSS_SELECTOR, "dialog [role=alert]")
    await_true(page, lambda: "/nowhere.csv" in alert.text)
    assert page.switch_to.active_element.get_attribute("data-path") == "datasets.train.dataPath"
    enter(page, "datasets.train.dataPath", str(DIGITS / "data" / "train.csv"))
    confirm(page)
    await_true(page, lambda: closed(page))

    press(page, "buildModel")
    confirm(page)
    await_text(page, "state", "ready")
    press(page, "train")
    await_text(page, "state", "training")
    press(page, "pause")
    await_text(page, "state", "paused")
    press(page, "saveModel")
    enter(page, "modelPath", str(tmp_path / "saved"))
    confirm(page)
    await_true(page, lambda: list(tmp_path.glob("saved/*")))
    press(page, "resumeTraining")
    await_text(page, "state", "training")

    press(page, "reset")
    await_true(page, lambda: not closed(page))
    page.find_element(By.CSS_SELECTOR, "dialog button:not(.solid)").click()  # Cancel
    await_true(page, lambda: closed(page))
    assert httpx.get(f"{url}/v1/mistk/status").json()["state"] == "training"
    press(page, "reset")
    confirm(page)
    await_text(page, "state", "started")
    press(page, "shutdown")
    confirm(page)
    await_text(page, "state", "terminated")
