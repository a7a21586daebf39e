"""Swagger UI in a real browser, under the policy that the service sends with it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from mistk_service.resources import plugins_path
from tests.page.browser import await_true
from tests.service.harness import Service

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("state")
    model = f"{plugins_path() / 'digits' / 'model.py'}:Digits"
    with Service("serve", model, "--port", "0", cwd=folder) as container:
        yield container.url


def test_an_operation_can_be_tried_and_nothing_is_held_back_by_the_policy(chrome: webdriver.Chrome, url: str) -> None:
    chrome.get_log("browser")
    chrome.get(f"{url}/v1/mistk/ui/#/default/getApiVersion")
    await_true(chrome, lambda: len(chrome.find_elements(By.CSS_SELECTOR, ".opblock")) > 15)
    version = chrome.find_element(By.CSS_SELECTOR, "[id$=getApiVersion]")
    if "is-open" not in str(version.get_attribute("class")):
        version.find_element(By.CSS_SELECTOR, ".opblock-summary").click()
    for button in (".try-out__btn", ".execute"):
        await_true(chrome, partial(version.find_elements, By.CSS_SELECTOR, button))
        version.find_element(By.CSS_SELECTOR, button).click()
    await_true(chrome, lambda: version.find_elements(By.CSS_SELECTOR, ".live-responses-table .response-col_status"))
    assert version.find_element(By.CSS_SELECTOR, ".live-responses-table .response td").text.startswith("200")
    complaints = chrome.get_log("browser")
    chrome.get("about:blank")
    assert complaints == []


def test_no_page_of_the_service_shows_inside_another_page(chrome: webdriver.Chrome, url: str) -> None:
    paths = ["/", "/v1/mistk/ui/", "/v1/mistk/status"]
    frames = "".join(f"<iframe src='{url}{path}'></iframe>" for path in paths)
    chrome.get(f"data:text/html,{frames}")
    for frame in range(len(paths)):
        chrome.switch_to.frame(frame)
        # What the browser shows instead of a page that does not want to be framed.
        await_true(chrome, lambda: chrome.execute_script("return document.URL").startswith("chrome-error:"))
        chrome.switch_to.default_content()
    chrome.get("about:blank")
