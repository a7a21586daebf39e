"""Values of numpy and the like become plain ones, without the library that they come from being imported."""

from __future__ import annotations

import math
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest

from mistk_service.worker.values import int64, json_ready, number, text


class Tensor:
    """Behaves as a torch tensor does: its size is a method."""

    def __init__(self, *values: float) -> None:
        self._values = values

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
def test_what_is_no_number_by_value_stays_so(value: Any):
    assert math.isnan(number(value))


@pytest.mark.parametrize(
    "value",
    ["1.5", b"1", bytearray(b"1"), None, [1], {}, np.array([1, 2]), np.array([]), Tensor(1, 2), 1j, object(), 10**400],
)
def test_what_is_no_number_by_type_is_refused(value: Any):
    with pytest.raises((TypeError, OverflowError, RuntimeError)):
        number(value)


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
    code = f"import sys, mistk_service.worker.child; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "[]"
