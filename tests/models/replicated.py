"""Says which process answers, with which model and settings; records and settings say what else it does."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from mistk_service import AbstractModel, RequestError


def wait(gate: str) -> None:
    """Wait for a byte from a gate."""
    with open(gate, "rb", buffering=0) as pipe:
        pipe.read(1)


class Replicated(AbstractModel):
    idempotent_predictions = False

    def __init__(self) -> None:
        self._props: dict[str, Any] = {}
        self._model = ""

    def do_initialize(self, objectives: list[str], props: dict[str, Any], hparams: dict[str, Any]) -> None:
        self._gate = props.get("gate")

    def do_build_model(self, path: str | None = None) -> None:
        self._model = Path(path, "model").read_text() if path else "built"

    def do_train(self) -> None:
        if self._gate:
            wait(self._gate)
        self._model += " trained"

    def do_save_model(self, path: str) -> None:
        Path(path, "model").write_text(self._model)

    def do_update_stream_properties(self, props: dict[str, Any]) -> None:
        if "refused" in props:
            raise RequestError("told to refuse")
        if "wait" in props:
            wait(props["wait"])
        self._props |= props

    def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> dict[str, Any]:
        if data_map.get("die") == "" or ("die once" in data_map and not Path(data_map["die once"]).exists()):
            Path(data_map.get("die once", os.devnull)).touch()
            os._exit(3)
        if "wait" in data_map:
            wait(data_map["wait"])
        who = f"{os.getpid()}/{threading.get_ident()}"
        return {key: {"who": who, "props": self._props, "model": self._model} for key in data_map}


class Serving(Replicated):
    serve_while_training = True
    idempotent_predictions = True
