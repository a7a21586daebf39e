"""Reports, in training, what is hard or impossible to send; the property ``what`` chooses."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from mistk_service import AbstractModel


class Scalar:
    """Behaves as a numpy scalar does."""

    size = 1

    def __init__(self, value: Any) -> None:
        self._value = value

    def item(self) -> Any:
        return self._value

    def tolist(self) -> Any:
        return self._value


def _deep(levels: int) -> Any:
    value: Any = None
    for _ in range(levels):
        value = [value]
    return value


WAYS = {
    "status object": lambda model: model.update_status({"a": object()}),
    "status integer": lambda model: model.update_status({"a": 2**70}),
    "status surrogate": lambda model: model.update_status({"a": "\ud800"}),
    "status deep": lambda model: model.update_status(_deep(100_000)),
    "status large": lambda model: model.update_status("x" * 1_000_000),
    "metric text": lambda model: model.report_metrics({"a": "1.5"}),
    "metric name": lambda model: model.report_metrics({"\ud800": 1.0}),
    "metric step": lambda model: model.report_metrics({"a": 1.0}, step=2**70),
    "metric time": lambda model: model.report_metrics({"a": 1.0}, timestamp=2**70),
    "metric integer": lambda model: model.report_metrics({"a": 10**400}),
    "param object": lambda model: model.report_params({"a": object()}),
    "param integer": lambda model: model.report_params({"a": 2**70}),
    "param name": lambda model: model.report_params({"\ud800": 1}),
    "tag surrogate": lambda model: model.set_tags({"a": "\ud800"}),
    "metrics many": lambda model: model.report_metrics({f"m{number}": 1.0 for number in range(50_000)}),
    "metric name long": lambda model: model.report_metrics({"a" * 1_000_000: 1.0}),
    "param large": lambda model: model.report_params({"a": "x" * 1_000_000}),
    "param name long": lambda model: model.report_params({"a" * 1_000_000: 1}),
    "tag large": lambda model: model.set_tags({"a": "x" * 1_000_000}),
    "tags many": lambda model: model.set_tags({f"t{number}": "x" * 100 for number in range(10_000)}),
    "artifact name": lambda model: model.log_artifact(Path("a\udcff")),
    "artifact nothing": lambda model: model.log_artifact(None),
}


class OddReports(AbstractModel):
    def do_initialize(self, objectives: list[str], props: dict[str, Any], hparams: dict[str, Any]) -> None:
        self._what = props["what"]

    def do_train(self) -> None:
        if self._what in WAYS:
            WAYS[self._what](self)
        else:
            self._report_the_rare_but_right()
        self.report_metrics({"sane": 1.0})
        self.update_status({"sane": True}) if self._what.startswith("metric") else None

    def _report_the_rare_but_right(self) -> None:
        self.report_metrics(
            {"nan": math.nan, "up": math.inf, "down": -math.inf, "scalar": Scalar(0.25), "yes": True}, 3
        )
        self.report_params({"scalar": Scalar(7), "nested": {"a": [1, None]}, 5: "five"})  # type: ignore[dict-item]
        self.set_tags({"tag": "first"})
        self.set_tags({"tag": "second"})
        self.log_artifact(os.path.relpath(__file__), "folder")
        self.update_status({"scalar": Scalar([1, 2]), "path": Path("a/b")})
