"""Takes the screenshots of the documentation, docs/screenshots/*.png, of a digits model that it trains.

Needs chromium and chromedriver, and the environment of a developer: ``make screenshots``.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from selenium.webdriver import ActionChains, Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from mistk_service.client import ModelClient, launch

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "screenshots"
DIGITS = Path("plugins", "digits")
WIDTH, HEIGHT = 1280, 860
COLOURS = 128  # of the palette, which makes the files small

#: The points of a stroke that draws a three, relative to the centre of the field.
THREE = [(-60, -95), (0, -110), (50, -85), (55, -45), (10, -10), (55, 20), (60, 70), (0, 100), (-60, 85)]


def main() -> None:
    """Train models, take the screenshots and write the files."""
    os.chdir(ROOT)
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        container = launch(f"{DIGITS / 'model.py'}:Digits", options=["--state-dir", f"{folder}/state"])
        with container as client:
            page = browser(folder)
            try:
                runs = [train(client, seed, rate) for seed, rate in enumerate((0.02, 0.05, 0.2))]
                begin(client, {"epochs": 400, "dropout": 0.3})
                client.train()
                take(page, f"{container.url}/#/", "now", lambda: shown(page, "#metrics .line[d]", "#usage meter"))
                client.pause()
                client.wait_for("paused")
                client.wait_for("started", since=client.reset())
                begin(client, {"epochs": 60})
                client.wait_for("ready", since=client.train())
                take(page, f"{container.url}/#/try", "try", lambda: predict(page))
                take(
                    page,
                    f"{container.url}/#/compare?runs={','.join(runs)}&tab=charts",
                    "compare",
                    lambda: shown(page, "main canvas"),
                )
            finally:
                page.quit()


def browser(folder: str) -> Chrome:
    """Return a browser without a window."""
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--lang=en",
        "--hide-scrollbars",
        f"--user-data-dir={folder}/profile",
    ):
        options.add_argument(flag)
    return Chrome(options=options, service=Service(shutil.which("chromedriver")))


def begin(client: ModelClient, hyperparameters: dict[str, object]) -> None:
    """Bring a new instance to the state ``ready``."""
    client.wait_for("initialized", since=client.initialize(["training"], hyperparameters=hyperparameters))
    data = {role: DIGITS / "data" / f"{role}.csv" for role in ("train", "test")}
    client.wait_for("initialized", since=client.load_data(**data))
    client.wait_for("ready", since=client.build_model())


def train(client: ModelClient, seed: int, rate: float) -> str:
    """Train a fresh model, and return the id of its run."""
    begin(client, {"epochs": 60, "learning_rate": rate, "seed": seed})
    status = client.wait_for("ready", since=client.train())
    client.wait_for("ready", since=client.predict())
    client.wait_for("started", since=client.reset())
    return str(status.payload["run"]["id"])


def shown(page: Chrome, *selectors: str) -> None:
    """Wait until there is an element for each selector."""
    for selector in selectors:
        WebDriverWait(page, 60).until(lambda _, selector=selector: page.find_elements(By.CSS_SELECTOR, selector))


def predict(page: Chrome) -> None:
    """Draw a three and ask the model what it is."""
    shown(page, ".choice button", "#trial-card button.solid:enabled")
    next(each for each in page.find_elements(By.CSS_SELECTOR, ".choice button") if each.text == "Records").click()
    field = page.find_element(By.CSS_SELECTOR, "canvas.drawing")
    actions = ActionChains(page, duration=10)
    actions.move_to_element_with_offset(field, *THREE[0]).click_and_hold()
    for point in THREE[1:]:
        actions.move_to_element_with_offset(field, *point)
    actions.release().perform()
    page.find_element(By.CSS_SELECTOR, "#trial-card button.solid").click()
    shown(page, "#answer .bars")


def take(page: Chrome, url: str, name: str, prepare: Callable[[], None]) -> None:
    """Write ``NAME.png`` and ``NAME-dark.png``."""
    for scheme, suffix in (("light", ""), ("dark", "-dark")):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        metrics = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        page.get("about:blank")
        page.get(url)
        prepare()
        page.execute_async_script("setTimeout(arguments[0], 1500)")  # until animations have ended
        with Image.open(io.BytesIO(page.get_screenshot_as_png())) as image:
            image.convert("RGB").quantize(COLOURS).save(FOLDER / f"{name}{suffix}.png", optimize=True)


if __name__ == "__main__":
    main()
