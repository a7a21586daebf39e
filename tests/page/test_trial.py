"""A model is tried on the page: what it takes becomes a form, and its answer is shown."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By

from mistk_service.client import ModelClient
from mistk_service.resources import plugins_path
from tests.models.hostile import MARKUP
from tests.page.browser import await_text, await_true, load, rows, text
from tests.service.harness import Service

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

DIGITS = plugins_path() / "digits"
MODELS = Path(__file__).parents[1] / "models"

#: A three, as strokes from the middle of the field.
THREE = [(-60, -95), (0, -110), (50, -85), (55, -45), (10, -10), (55, 20), (60, 70), (0, 100), (-60, 85)]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("digits")
    service = Service("serve", f"{DIGITS / 'model.py'}:Digits", "--port", "0", cwd=folder)
    with service, ModelClient(service.url) as client:
        client.wait_for("initialized", since=client.initialize(["training"], hyperparameters={"epochs": 30}))
        client.wait_for("initialized", since=client.load_data(train=DIGITS / "data" / "train.csv"))
        client.wait_for("ready", since=client.build_model())
        client.wait_for("ready", since=client.train())
        yield service.url


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ModelClient]]:
    folder = tmp_path_factory.mktemp("hostile")
    service = Service("serve", f"{MODELS / 'hostile.py'}:Hostile", "--port", "0", cwd=folder)
    with service, ModelClient(service.url) as client:
        client.wait_for("initialized", since=client.initialize(["training"]))
        client.wait_for("ready", since=client.build_model())
        yield service.url, client


def open_page(chrome: webdriver.Chrome, url: str) -> None:
    load(chrome, f"{url}/#/try")
    await_true(chrome, lambda: chrome.find_elements(By.CSS_SELECTOR, "#trial-card button.solid:enabled"))


def choose(page: webdriver.Chrome, label: str) -> None:
    next(each for each in page.find_elements(By.CSS_SELECTOR, ".choice button") if each.text == label).click()


def predict(page: webdriver.Chrome) -> str:
    """Press the button, and return the answer, or the message if there is none."""
    page.execute_script("document.querySelector('#answer').replaceChildren()")
    page.find_element(By.CSS_SELECTOR, "#trial-card button.solid").click()
    await_true(page, lambda: text(page, "latency") or page.find_element(By.CSS_SELECTOR, "#trial-card .message").text)
    return text(page, "answer") or page.find_element(By.CSS_SELECTOR, "#trial-card .message").text


def draw(page: webdriver.Chrome) -> None:
    field = page.find_element(By.CSS_SELECTOR, "canvas.drawing")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", field)
    actions = webdriver.ActionChains(page, duration=10)
    actions.move_to_element_with_offset(field, *THREE[0]).click_and_hold()
    for point in THREE[1:]:
        actions.move_to_element_with_offset(field, *point)
    actions.release().perform()


def test_a_drawn_digit_is_recognised_and_the_request_can_be_repeated(chrome: webdriver.Chrome, digits: str) -> None:
    open_page(chrome, digits)
    assert predict(chrome) == "Nothing is drawn yet."
    draw(chrome)
    assert predict(chrome).startswith("label3confidence")
    assert text(chrome, "latency").startswith("Answered in ")
    curl = subprocess.run(["sh", "-c", text(chrome, "snippet")], capture_output=True, text=True, check=True, timeout=30)
    assert '"data":[3]' in curl.stdout
    choose(chrome, "Python")
    code = text(chrome, "snippet")
    python = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert '"data":[3]' in python.stdout
    choose(chrome, "JavaScript")
    script = f"return (async () => {{ {text(chrome, 'snippet').replace('console.log', 'return ')} }})()"
    assert '"data":[3]' in chrome.execute_script(script)


def test_details_are_bars_and_prose(chrome: webdriver.Chrome, digits: str) -> None:
    open_page(chrome, digits)
    choose(chrome, "Records")
    draw(chrome)
    assert predict(chrome).startswith("label3")
    assert len(chrome.find_elements(By.CSS_SELECTOR, "#answer .bars meter")) == 11
    assert chrome.find_element(By.CSS_SELECTOR, "#answer .bars .highest .key").text == "3"
    assert len(chrome.find_elements(By.CSS_SELECTOR, "#answer .prose table tbody tr")) == 10


def test_an_image_numbers_and_a_table_are_taken(chrome: webdriver.Chrome, digits: str, tmp_path: Path) -> None:
    open_page(chrome, digits)
    page = np.full((64, 64), 255, np.uint8)
    page[8:56, 28:38] = 0  # a one, in dark ink on a light ground
    Image.fromarray(page).save(tmp_path / "one.png")
    choose(chrome, "Image")
    chrome.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(tmp_path / "one.png"))
    await_true(chrome, lambda: chrome.find_element(By.ID, "invert").is_selected())
    assert predict(chrome).startswith("label1confidence")

    choose(chrome, "Numbers")
    numbers = chrome.find_element(By.CSS_SELECTOR, "#trial-card textarea")
    numbers.send_keys("1, 2, 3")
    assert predict(chrome) == "Record 1 has 3 numbers; expected 64."

    choose(chrome, "CSV")
    chrome.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(DIGITS / "data" / "test.csv"))
    skipped = chrome.find_element(By.ID, "skipped")
    skipped.clear()
    skipped.send_keys("2")  # id and label
    predict(chrome)
    assert len(chrome.find_elements(By.CSS_SELECTOR, "#answer tbody tr")) == 200
    assert "The first 200 of 355 records." in text(chrome, "answer")


def test_predictions_for_a_source_are_shown_until_the_dialog_is_closed(chrome: webdriver.Chrome, digits: str) -> None:
    load(chrome, f"{digits}/#/")
    button = '[data-operation="streamPredict/source"]'
    await_true(chrome, lambda: chrome.find_elements(By.CSS_SELECTOR, button))
    chrome.find_element(By.CSS_SELECTOR, button).click()
    await_true(chrome, lambda: chrome.find_elements(By.CSS_SELECTOR, "dialog[open] [data-path=source]"))
    source = chrome.find_element(By.CSS_SELECTOR, "dialog [data-path=source]")
    source.send_keys(str(DIGITS / "data" / "test.csv"))
    chrome.find_element(By.CSS_SELECTOR, "dialog button.solid").click()
    output = chrome.find_element(By.CSS_SELECTOR, "dialog pre")
    await_true(chrome, lambda: '"eventType":"added"' in str(output.get_property("textContent")))
    chrome.find_element(By.CSS_SELECTOR, "dialog button:not(.solid)").click()
    await_text(chrome, "state", "ready")


def test_a_text_is_continued_as_it_comes(chrome: webdriver.Chrome, hostile: tuple[str, ModelClient]) -> None:
    open_page(chrome, hostile[0])
    chrome.find_element(By.ID, "prompt").send_keys("Say")
    assert predict(chrome).startswith(f"Say: {MARKUP} on on")


def test_nothing_that_a_model_answers_prints_or_fails_with_becomes_markup(
    chrome: webdriver.Chrome, hostile: tuple[str, ModelClient]
) -> None:
    open_page(chrome, hostile[0])
    choose(chrome, "Records")
    chrome.find_element(By.CSS_SELECTOR, "#trial-card textarea").send_keys(MARKUP)
    answer = predict(chrome)
    assert MARKUP in answer
    assert "Why:" in chrome.find_element(By.CSS_SELECTOR, "#answer .prose b").text
    assert chrome.find_elements(By.CSS_SELECTOR, "main img, main script, main a") == []

    chrome.get(f"{hostile[0]}/#/")
    await_true(chrome, lambda: "rate" in rows(chrome, "declared"))
    hostile[1].train()
    await_text(chrome, "state", "failed")
    assert MARKUP in text(chrome, "error-message")
    assert f"ValueError: {MARKUP}" in text(chrome, "traceback-text")
    await_true(chrome, lambda: "about to fail" in text(chrome, "log-text"))
    assert MARKUP in text(chrome, "log-text")
    assert chrome.find_elements(By.CSS_SELECTOR, "main img, main script") == []
    assert "owned" not in chrome.title


def test_texts_json_and_images_go_to_inputs_with_codecs_and_an_image_comes_back(
    chrome: webdriver.Chrome, tmp_path: Path
) -> None:
    Image.new("RGB", (3, 2)).save(tmp_path / "black.png")
    service = Service("serve", f"{MODELS / 'encoded.py'}:Described", "--port", "0", "--no-tracking", cwd=tmp_path)
    with service, ModelClient(service.url) as client:
        client.wait_for("initialized", since=client.initialize([]))
        client.wait_for("ready", since=client.build_model())
        open_page(chrome, service.url)
        caption, about, table = chrome.find_elements(By.CSS_SELECTOR, "#trial-card textarea")
        caption.send_keys("a cat")
        about.send_keys('{"n": ')
        table.send_keys("1,2")
        chrome.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(tmp_path / "black.png"))
        assert predict(chrome).startswith("The text is not JSON: ")
        about.send_keys("7}")
        answer = predict(chrome)
        assert "upperA CAT" in answer
        assert '"n": 7' in answer
        image = chrome.find_element(By.CSS_SELECTOR, "#answer img")
        await_true(chrome, lambda: image.get_property("naturalWidth") == 3)

        choose(chrome, "Draw")
        draw(chrome)
        drawn = predict(chrome)
        assert "upperA CAT" in drawn
        assert drawn != answer, "the drawing is as black as the file"
        chrome.get("about:blank")
