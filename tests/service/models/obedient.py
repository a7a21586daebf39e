"""A model that implements every hook and behaves as its hyperparameters say."""

from __future__ import annotations

import base64
import itertools
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from mistk_service import AbstractModel, MistkDataset


class Obedient(AbstractModel):
    """``train``, ``predict`` and ``generate`` of the hyperparameters name one of the ``_do_`` methods below."""

    max_batch_size = 16
    record_encoding = "base64"

    def do_initialize(self, objectives: list[str], props: dict[str, Any], hparams: dict[str, Any]) -> None:
        self.hparams = hparams
        self.threshold = 0
        self.update_status({"objectives": objectives, "props": props, "pid": os.getpid()})
        self._do(hparams.get("initialize", "nothing"))

    def do_load_data(self, dataset_map: dict[str, MistkDataset]) -> None:
        self.update_status({"loaded": {purpose: dataset.data_path for purpose, dataset in dataset_map.items()}})

    def do_train(self) -> None:
        self._do(self.hparams.get("train", "three_steps"))

    def do_predict(self) -> None:
        self._do(self.hparams.get("predict", "three_steps"))

    def do_generate(self) -> None:
        self._do(self.hparams.get("generate", "three_steps"))

    def do_save_model(self, path: str) -> None:
        (Path(path) / "model.txt").write_text("saved")

    def do_save_predictions(self, dataPath: str) -> None:
        (Path(dataPath) / "predictions.txt").write_text("saved")

    def do_save_generations(self, dataPath: str) -> None:
        (Path(dataPath) / "generations.txt").write_text("saved")

    def do_update_stream_properties(self, props: dict[str, Any]) -> None:
        self.update_status(props)

    def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> dict[str, Any]:
        """Answer with what came; ``raise`` and ``die`` as records do that."""
        records = {key: base64.b64decode(value) for key, value in data_map.items()}
        if b"raise" in records.values():
            raise ValueError("a record told the model to raise")
        if b"die" in records.values():
            os._exit(7)
        return {key: {"echo": record.decode("latin-1"), "details": details} for key, record in records.items()}

    # --- what the hyperparameters can ask for -------------------------------------------------------------------------

    def _do(self, name: str) -> None:
        getattr(self, f"_do_{name}")()

    def _do_nothing(self) -> None:
        pass

    def _do_three_steps(self) -> None:
        for step in self.steps(range(3), "steps"):
            self.report_metrics({"loss": 1 / (step + 1)}, step=step)

    def _do_raise(self) -> None:
        raise ValueError("the model was told to raise")

    def _do_steps_for_ever(self) -> None:
        """Go on until told to stop, with a pause point every few milliseconds."""
        turn = threading.Event()
        for _ in self.steps(itertools.count(), "turns"):
            turn.wait(0.005)

    def _do_report_for_ever(self) -> None:
        """Report ten points every few milliseconds until told to stop."""
        turn = threading.Event()
        for step in self.steps(itertools.count(), "turns"):
            for point in range(10):
                self.report_metrics({"loss": point}, step=10 * step + point)
            turn.wait(0.005)

    def _do_report_calmly(self) -> None:
        """Report a point four times a second until told to stop."""
        turn = threading.Event()
        for step in self.steps(itertools.count(), "turns"):
            self.report_metrics({"loss": step}, step=step)
            turn.wait(0.25)

    def _do_burn(self) -> None:
        """Keep the interpreter busy until told to stop."""
        number = 1
        for _ in self.steps(itertools.count(), "turns"):
            for _ in range(100_000):
                number = (number * 1103515245 + 12345) % 2**31

    def _do_ignore_everything(self) -> None:
        """Never reach a pause point."""
        threading.Event().wait()

    def _do_print_and_exit(self) -> None:
        print("said on the output", flush=True)
        print("said on the error output", file=sys.stderr, flush=True)
        os._exit(3)

    def _do_fork_and_stay(self) -> None:
        """Start processes of several kinds that outlive their parent if nobody ends them, and go on."""
        endless = "import signal\nwhile True: signal.pause()"
        child = subprocess.Popen([sys.executable, "-c", endless])
        forked = os.fork()
        if forked == 0:
            os.fork()
            threading.Event().wait()
        self.update_status({"children": [child.pid, forked]})
        self._do_steps_for_ever()
