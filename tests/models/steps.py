"""Trains as the documentation shows, and saves with ``steps`` too, so that its savings come to pause points."""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import Any

from mistk_service import AbstractModel, StopActivity


class Steps(AbstractModel):
    """Between two epochs it waits at the gate for an ``s``."""

    def do_initialize(self, objectives: list[str], props: dict[str, Any], hparams: dict[str, Any]) -> None:
        # At once, also where the test is over and nobody holds the other end any more.
        self._gate = os.open(props["gate"], os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(self._gate, True)
        weakref.finalize(self, os.close, self._gate)
        self._epochs = hparams.get("epochs", 3)
        self._trained: list[int] = []

    def do_train(self) -> None:
        for epoch in self.steps(range(self._epochs), "epochs"):
            if os.read(self._gate, 1) != b"s":
                raise StopActivity
            self._trained.append(epoch)
            self.report_metrics({"loss": 1 / (epoch + 1)}, step=epoch)

    def do_save_model(self, path: str) -> None:
        with (Path(path) / "model.txt").open("w") as file:
            for epoch in self.steps(self._trained, "lines"):
                file.write(f"{epoch}\n")
