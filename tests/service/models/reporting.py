"""A model that reports a given amount, and waits in the middle until the test lets it continue."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from mistk_service import AbstractModel


class Reporting(AbstractModel):
    """Hyperparameters: ``points`` to report, the steps to ``stop`` at, and the named pipe ``gate`` to wait at there."""

    def do_initialize(self, objectives: list[str], props: dict[str, Any], hparams: dict[str, Any]) -> None:
        self.points = hparams["points"]
        self.stops = frozenset(hparams.get("stop", ()))
        self.gate = hparams.get("gate")

    def do_train(self) -> None:
        self.report_params({"optimizer": "none", "layers": [64, 10]})
        for step in self.steps(range(self.points), "points"):
            if step in self.stops:
                self.update_status({"at": step})
                with Path(str(self.gate)).open("rb", buffering=0) as gate:
                    gate.read(1)
            self.report_metrics({"loss": value_at(step)}, step=step)
        self.set_tags({"finished": "yes"})
        self.log_text("what was learnt", "notes/result.txt")

    def do_save_model(self, path: str) -> None:
        Path(path, "weights.bin").write_bytes(bytes(range(256)) * 4096)


def value_at(step: int) -> float:
    """Return the value reported at a step; now and then one that JSON has no number for."""
    if step % 997 == 5:
        return math.nan
    return 1.0 / (step + 1)
