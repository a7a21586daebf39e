"""Answers stream predictions with what is hard or impossible to send; the record (plain text here) chooses."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mistk_service import AbstractModel


class Scalar:
    """Behaves as a numpy scalar does."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def tolist(self) -> Any:
        return self._value


def _deep(levels: int) -> Any:
    value: Any = None
    for _ in range(levels):
        value = [value]
    return value


def _cyclic() -> dict[str, Any]:
    answer: dict[str, Any] = {}
    answer["a"] = answer
    return answer


ANSWERS: dict[str, Callable[[], Any]] = {
    "object": lambda: {"a": object()},
    "list": lambda: [1, 2],
    "none": lambda: None,
    "deep": lambda: {"a": _deep(100_000)},
    "cyclic": _cyclic,
    "tuple key": lambda: {(1, 2): 3},
    "surrogate": lambda: {"a": "\ud800"},
    "nan": lambda: {"a": math.nan},
    "scalar": lambda: {"a": Scalar(3)},
    "path": lambda: {"a": Path("x/y")},
    "integer": lambda: {"a": 2**70},
    "integer key": lambda: {"a": {1: 2}},
    "other ids": lambda: {"b": 1},
}


class OddAnswers(AbstractModel):
    def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> Any:
        return ANSWERS[data_map["a"]]()
