"""Counts up while it trains, for ever unless ``steps`` is given, and goes on from what it saved."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from typing import Any

from mistk_service import AbstractModel, MistkDataset


class Counts(AbstractModel):
    def do_initialize(self, objectives: list[str], props: dict[str, Any], hparams: dict[str, Any]) -> None:
        self.number, self.begun_at = 0, 0
        self.given = hparams

    def do_load_data(self, dataset_map: dict[str, MistkDataset]) -> None:
        self.names = sorted(dataset_map)

    def do_build_model(self, path: str | None = None) -> None:
        if path is not None:
            self.number = self.begun_at = int((Path(path) / "number.txt").read_text())

    def do_train(self) -> None:
        if "fail" in self.given:
            raise ValueError("told to fail")
        numbers = range(self.given["steps"]) if "steps" in self.given else itertools.count()
        turn = threading.Event()
        for _ in numbers if "deaf" in self.given else self.steps(numbers, "numbers"):
            turn.wait(0.005)
            self.number += 1
            self.report_metrics({"number": self.number}, step=self.number)

    def do_save_model(self, path: str) -> None:
        if "hangs_in_save" in self.given:
            (Path(path) / "number.txt").touch()
            threading.Event().wait()
        (Path(path) / "number.txt").write_text(str(self.number))
        (Path(path) / "begun_at.txt").write_text(str(self.begun_at))
        (Path(path) / "data.txt").write_text(",".join(self.names))
