"""The curves of the metrics on the page, against a status stream that the tests write."""

from __future__ import annotations

from typing import Any

import pytest
from selenium.webdriver.common.by import By

from tests.page.browser import await_text, await_true, await_version, curve, points, seen
from tests.page.conftest import RUN

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]  # the first one waits for the browser


def test_a_metric_is_drawn_as_a_curve_that_grows(page, service) -> None:
    for step, value in enumerate((4.0, 2.0, 1.0), start=1):
        service.send(step, "training", metrics={"loss": {"value": value, "step": step, "timestamp": step * 1000}})
    await_version(page, 3)
    assert page.find_element(By.CSS_SELECTOR, "#metrics .value").text == "1"
    assert page.find_element(By.CSS_SELECTOR, "#metrics svg").get_attribute("aria-label") == "loss: 1, step 3, 1 to 4"
    line = points(curve(page, "line"))
    assert [x for x, _ in line] == [0, 120, 240]
    # Downwards on a screen: the highest value at the top.
    assert [y for _, y in line] == sorted(y for _, y in line)
    service.send(4, "training", metrics={"loss": {"value": 0.5, "step": 4, "timestamp": 4000}})
    await_true(page, lambda: len(points(curve(page, "line"))) == 4)


def test_a_status_that_repeats_a_metric_adds_no_point(page, service) -> None:
    loss = {"loss": {"value": 4.0, "step": 1, "timestamp": 1000}}
    for version in range(1, 4):
        service.send(version, "training", metrics=loss)
    await_version(page, 3)
    assert len(points(curve(page, "line"))) == 1


def test_a_value_that_is_no_number_interrupts_the_curve_and_is_named(page, service) -> None:
    for step, value in enumerate((1.0, 2.0, "NaN", 3.0, 4.0, "-Infinity"), start=1):
        service.send(step, "training", metrics={"loss": {"value": value, "step": step, "timestamp": step}})
    await_version(page, 6)
    assert page.find_element(By.CSS_SELECTOR, "#metrics .value").text == "-Infinity"
    assert curve(page, "line").count("M") == 2
    assert len(points(curve(page, "line"))) == 4


def test_a_long_course_is_thinned_and_stays_whole(page, service) -> None:
    for step in range(1, 1001):
        service.send(step, "training", metrics={"loss": {"value": step, "step": step, "timestamp": step}})
    await_version(page, 1000)
    line = points(curve(page, "line"))
    assert len(line) <= 400
    assert (line[0][0], line[-1][0]) == (0, 240)
    assert page.find_element(By.CSS_SELECTOR, "#metrics .quiet").text == "step 1,000 · 1 to 1,000"


def test_a_new_training_begins_a_new_curve(page, service) -> None:
    for version, step in enumerate((1, 2, 3, 1, 2), start=1):
        service.send(version, "training", metrics={"loss": {"value": version, "step": step, "timestamp": version}})
    await_version(page, 5)
    assert page.find_element(By.CSS_SELECTOR, "#metrics .quiet").text == "step 2 · 4 to 5"


def at(step: int, value: float | str) -> dict[str, Any]:
    return {"value": value, "step": step, "timestamp": step * 1000}


def test_a_page_that_is_opened_late_shows_the_whole_curve_from_the_store(page, service) -> None:
    values: list[float | str] = [8.0, "NaN", 2.0, 3.0, 4.0]
    service.history["5f3c", "loss"] = [at(step, value) for step, value in enumerate(values)]
    service.send(900, "training", metrics={"loss": at(4, 4.0) | {"min": 0.5, "max": 8.5}}, run=RUN)
    await_true(page, lambda: len(points(curve(page, "line"))) == 4)
    assert curve(page, "line").count("M") == 2
    # The range is that of all points, of which the curve shows some.
    assert page.find_element(By.CSS_SELECTOR, "#metrics .quiet").text == "step 4 · 0.5 to 8.5"
    service.send(901, "training", metrics={"loss": at(5, 5.0) | {"min": 0.5, "max": 8.5}}, run=RUN)
    await_true(page, lambda: len(points(curve(page, "line"))) == 5)
    assert not seen(page, "metrics-partial")


def test_a_status_of_the_past_does_not_begin_a_new_curve(page, service) -> None:
    service.history["5f3c", "loss"] = [at(step, step) for step in range(5)]
    service.send(1, "started")
    service.send(2, "training", metrics={"loss": at(1, 1)}, run=RUN)
    await_true(page, lambda: len(points(curve(page, "line"))) == 5)
    service.send(3, "training", metrics={"loss": at(2, 2)}, run=RUN)
    service.send(4, "training", metrics={"loss": at(5, 5)}, run=RUN)
    await_true(page, lambda: len(points(curve(page, "line"))) == 6)


def test_what_came_while_the_store_was_asked_stays_and_the_past_is_not_repeated(page, service) -> None:
    service.history["5f3c", "loss"] = [at(step, step) for step in range(4)]
    for version, step in ((1, 0), (2, 2), (3, 3), (4, 4)):
        service.send(version, "training", metrics={"loss": at(step, step)}, run=RUN)
    await_true(page, lambda: [x for x, _ in points(curve(page, "line"))] == [0, 60, 120, 180, 240])


def test_curves_with_a_gap_are_completed_from_the_store_without_a_note(page, service) -> None:
    service.history["5f3c", "loss"] = [at(step, step) for step in range(1, 9)]
    service.send(1, "training", metrics={"loss": at(1, 1)}, run=RUN)
    service.send(9, "training", metrics={"loss": at(8, 8)}, run=RUN, missed={"from": 2, "to": 8})
    await_true(page, lambda: len(points(curve(page, "line"))) == 8)
    assert not seen(page, "notice")


@pytest.mark.parametrize("run", [None, RUN])
def test_a_page_that_cannot_read_the_beginning_says_so(page, service, run) -> None:
    service.send(9, "training", metrics={"loss": at(8, 8)}, run=run)
    await_true(page, lambda: seen(page, "metrics-partial"))


def test_a_metric_that_is_gone_after_a_reset_leaves_the_page(page, service) -> None:
    service.send(1, "ready", metrics={"loss": {"value": 1, "step": 1, "timestamp": 1}})
    await_true(page, lambda: seen(page, "metrics-card"))
    service.send(2, "started")
    await_text(page, "state", "started")
    assert not seen(page, "metrics-card")
