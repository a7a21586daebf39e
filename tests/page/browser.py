"""What a test reads off the page, and how it waits for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from selenium import webdriver
from selenium.common import TimeoutException
from selenium.webdriver.common.by import By

from tests.support.harness import TIMEOUT


def load(page: webdriver.Chrome, address: str) -> None:
    """Load a page anew, also where only the hash differs from that of the page which is there."""
    if page.current_url.partition("#")[0] == address.partition("#")[0]:
        # The page, which goes on until then, writes nothing else into its address.
        script = "history.replaceState(null, '', arguments[0]); history.replaceState = () => {}"
        page.execute_script(script, address)
        page.refresh()
    else:
        page.get(address)


def text(page: webdriver.Chrome, identifier: str) -> str:
    """The text of an element, whether it is in sight or not."""
    return str(page.find_element(By.ID, identifier).get_property("textContent"))


def seen(page: webdriver.Chrome, identifier: str) -> bool:
    """Whether an element is in sight."""
    return page.find_element(By.ID, identifier).is_displayed()


def await_text(page: webdriver.Chrome, identifier: str, expected: str) -> None:
    """Wait until the element says what is expected; the assertion shows what it says instead."""
    with contextlib.suppress(TimeoutException):
        await_true(page, lambda: text(page, identifier) == expected)
    assert text(page, identifier) == expected, f"the page says:\n{page.find_element(By.TAG_NAME, 'body').text}"


def await_true(page: webdriver.Chrome, condition: Callable[[], Any], timeout: float = TIMEOUT) -> Any:
    """Wait until a condition holds, and return what it returns."""
    # Imported here, since every process that collects the tests imports this module, and Selenium's drivers take long.
    from selenium.webdriver.support.wait import WebDriverWait

    return WebDriverWait(page, timeout, 0.05).until(lambda _: condition())


def await_version(page: webdriver.Chrome, version: int) -> None:
    """Wait until a version is drawn."""
    await_true(page, lambda: text(page, "updated").startswith(f"Version {version},"))


def rows(page: webdriver.Chrome, identifier: str) -> list[str]:
    """The texts of an element's children."""
    return page.execute_script(
        "return [...(document.getElementById(arguments[0])?.children ?? [])].map(e => e.textContent)", identifier
    )


@contextlib.contextmanager
def theme(page: webdriver.Chrome, scheme: str) -> Iterator[None]:
    """What a person sees whose system is ``light`` or ``dark``."""
    preferences = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
    features = [{"name": name, "value": value} for name, value in preferences.items()]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    try:
        yield
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def curve(page: webdriver.Chrome, path: str) -> str:
    """The drawing of the first metric: its ``line``, ``area`` or ``last`` point."""
    return page.execute_script(
        "return document.querySelector(arguments[0])?.getAttribute('d') ?? ''", f"#metrics .{path}"
    )


def points(drawing: str) -> list[tuple[float, float]]:
    """The points of a drawing in its own coordinates, downwards from the top."""
    pairs = drawing.replace("M", "L").strip("L").split("L")
    return [(float(x), float(y)) for x, y in (pair.split() for pair in pairs if pair)]
