"""Values of numpy and the like become plain values, without importing those libraries."""

from __future__ import annotations

import gc
import math
import subprocess
import sys
import time
import weakref
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest

from mistk_service.workers.child.plain_values import int64, json_ready, number, points, text


class Tensor:
    """Behaves as a torch tensor does: its size is a method."""

    def __init__(self, *values: float) -> None:
        self._values = values
        self.ndim = int(len(values) != 1)
        self.shape = (len(values),) if self.ndim else ()

    def size(self) -> tuple[int, ...]:
        return (len(self._values),)

    def item(self) -> float:
        if len(self._values) != 1:
            raise RuntimeError("a Tensor with 2 elements cannot be converted to Scalar")
        return self._values[0]

    def tolist(self) -> list[float]:
        return list(self._values)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.5, 1.5),
        (3, 3.0),
        (True, 1.0),
        (np.float32(0.5), 0.5),
        (np.int64(-7), -7.0),
        (np.bool_(True), 1.0),
        (np.array(2.5), 2.5),
        (np.array([[4]]), 4.0),
        (Tensor(0.25), 0.25),
        (Decimal("0.5"), 0.5),
        (Fraction(1, 4), 0.25),
        (math.inf, math.inf),
        (np.float64("-inf"), -math.inf),
    ],
)
def test_a_number_is_a_number_whatever_its_type(value: Any, expected: float):
    result = number(value)
    assert type(result) is float
    assert result == expected


@pytest.mark.parametrize("value", [math.nan, np.float32("nan")])
def test_what_is_not_a_number_by_value_stays_so(value: Any):
    assert math.isnan(number(value))


@pytest.mark.parametrize(
    "value",
    [
        *(
            "1.5",
            b"1",
            bytearray(b"1"),
            None,
            [1],
            {},
            np.array([1, 2]),
            np.array([]),
            Tensor(1, 2),
            1j,
            object(),
            10**400,
        ),
        *(np.str_("1.5"), np.array("1.5"), np.array(None), np.complex64(1), np.array(1j), np.datetime64("2026-01-01")),
    ],
)
def test_what_is_not_a_number_by_type_is_refused(value: Any):
    with pytest.raises((TypeError, OverflowError, RuntimeError)):
        number(value)


def test_a_program_that_makes_types_without_end_does_not_fill_the_memory():
    kinds = weakref.WeakSet[type]()
    for value in range(2000):
        kind = type(f"Scalar{value}", (), {"item": lambda self, value=value: value})
        assert number(kind()) == value
        kinds.add(kind)
    gc.collect()
    assert len(kinds) < 200


# --- points ------------------------------------------------------------------------------------------------------------


class Raises:
    """Is a number to nobody."""

    def __float__(self) -> float:
        raise LookupError("not today")


def test_points_keep_the_order_the_step_and_the_time():
    reported = points({"b": 1, "a": np.float32(0.5), 3: Tensor(2.0)}, np.int64(7), np.int64(1000))
    assert reported == [("b", 1.0, 7, 1000), ("a", 0.5, 7, 1000), ("3", 2.0, 7, 1000)]
    assert {type(part) for point in reported for part in point} == {str, float, int}


def test_points_keep_what_is_not_a_number_by_value():
    (nan, up, down) = points({"nan": math.nan, "up": math.inf, "down": np.float64("-inf")}, None, 0)
    assert math.isnan(nan[1])
    assert (up[1:], down[1:]) == ((math.inf, None, 0), (-math.inf, None, 0))


def test_points_of_one_call_have_one_time_and_that_is_now():
    before = time.time_ns() // 1_000_000
    reported = points({"a": 1.0, "b": 2.0}, None, None)
    assert len({point[3] for point in reported}) == 1
    assert before <= reported[0][3] <= time.time_ns() // 1_000_000


@pytest.mark.parametrize("bad", ["1.5", None, Raises(), Tensor(1, 2), np.array([1, 2]), 10**400])
def test_one_bad_value_is_reported_by_its_name_and_harms_no_other(bad: Any, caplog: pytest.LogCaptureFixture):
    assert points({"before": 1.0, "guilty": bad, "after": 2.0}, 3, 4) == [("before", 1.0, 3, 4), ("after", 2.0, 3, 4)]
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "'guilty' was left out" in record.getMessage()


FRACTIONS = """
from mistk_service.workers.child.plain_values import points
assert points({"a": 1.0}, 2.0, 5.0) == [("a", 1.0, 2, 5)]
for _ in range(3):
    assert points({"a": 1.0}, 1.5, 1_700_000_000.25) == [("a", 1.0, 1, 1_700_000_000)]
"""


def test_a_fraction_of_a_step_or_of_a_time_loses_no_point_and_is_reported_once():
    """In a process of its own, in which nothing has been told yet."""
    done = subprocess.run([sys.executable, "-c", FRACTIONS], capture_output=True, text=True, check=True, timeout=30)
    step, timestamp = done.stderr.splitlines()
    assert "the step 1.5 was taken as 1; expected a whole number." in step
    assert "the timestamp 1700000000.25 was taken as 1700000000" in timestamp
    assert "milliseconds since 1970" in timestamp


def test_a_whole_number_of_another_type_is_taken_for_a_step_and_a_time(caplog: pytest.LogCaptureFixture):
    assert points({"a": 1.0}, np.float32(2), np.float64(5)) == [("a", 1.0, 2, 5)]
    assert not caplog.messages


@pytest.mark.parametrize(("step", "timestamp"), [(2**63, 0), (math.nan, 0), ("x", 0), (0, 2**63), (0, "now")])
def test_a_bad_step_or_time_is_reported_too(step: Any, timestamp: Any, caplog: pytest.LogCaptureFixture):
    assert points({"a": 1.0}, step, timestamp) == []
    assert "['a'] was left out, because of the step" in caplog.text


@pytest.mark.parametrize("values", [None, 0.5, [("a", 1.0)], "loss"])
def test_what_has_no_names_is_reported_and_not_raised(values: Any, caplog: pytest.LogCaptureFixture):
    assert points(values, None, None) == []
    assert "expected names and numbers" in caplog.text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.bool_(False), False),
        (Tensor(1, 2), [1, 2]),
        (PurePosixPath("a/b"), "a/b"),
    ],
)
def test_a_value_of_a_library_has_a_plain_form(value: Any, expected: Any):
    assert json_ready(value) == expected
    assert type(json_ready(value)) is type(expected)


@pytest.mark.parametrize("value", [object(), Path, np.ndarray, print, 1j])
def test_a_value_without_a_plain_form_is_refused_by_its_type(value: Any):
    with pytest.raises(TypeError, match="cannot be expressed in JSON"):
        json_ready(value)


@pytest.mark.parametrize("value", [0, -(2**63), 2**63 - 1, np.int32(5), True])
def test_an_integer_of_64_bits_is_taken(value: Any):
    assert int64(value) == value
    assert type(int64(value)) is int


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**400])
def test_a_longer_integer_is_refused(value: int):
    with pytest.raises(OverflowError):
        int64(value)


def test_text_that_can_be_encoded_is_taken():
    assert text("é☃") == "é☃"
    assert text(5) == "5"
    with pytest.raises(UnicodeEncodeError):
        text("\ud800")


def test_the_worker_loads_nothing_of_the_service():
    """It is what a model shares its process with: it has to be light, and to leave the model its own versions."""
    heavy = (
        "connexion",
        "flask",
        "starlette",
        "uvicorn",
        "httpx",
        "prometheus_client",
        "transitions",
        "numpy",
        "asyncio",
    )
    code = f"import sys, mistk_service.workers.child.main; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "[]"
