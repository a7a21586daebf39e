"""Pauses in its own way, as MISTK's models do: with a flag that its training looks at."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

from mistk_service import AbstractModel, StopActivity


class OwnPause(AbstractModel):
    """``gate`` as in the steered model: ``d`` ends the training, ``s`` is a place where it may stand still."""

    def do_initialize(self, objectives: list[str], props: dict[str, Any], hparams: dict[str, Any]) -> None:
        # At once, also where the test is over and nobody holds the other end any more.
        self._gate = os.open(props["gate"], os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(self._gate, True)
        weakref.finalize(self, os.close, self._gate)
        self._props = props
        self._go_on = threading.Event()
        self._go_on.set()
        self.steps_done = 0

    def do_train(self) -> None:
        while (command := os.read(self._gate, 1)) == b"s":
            self._go_on.wait()
            self.steps_done += 1
            self.update_status({"steps": self.steps_done})
        if command != b"d":
            raise StopActivity

    def do_predict(self) -> None:
        self.do_train()

    def do_pause(self) -> None:
        self._maybe_raise("pause")
        self._go_on.clear()

    def do_resume_training(self) -> None:
        self._maybe_raise("resume")
        self._go_on.set()

    def do_resume_predict(self) -> None:
        self.do_resume_training()

    def do_save_model(self, path: str) -> None:
        self._maybe_raise("save")
        self.report_params({"saved": path})

    def _maybe_raise(self, where: str) -> None:
        error = self._props.get(where)
        if error == "NotImplementedError":
            raise NotImplementedError(f"no {where} here")
        if error == "ValueError":
            raise ValueError(f"{where} went wrong")
        if error == "SystemExit":
            raise SystemExit(f"{where} exits")
