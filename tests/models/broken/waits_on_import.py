"""Waits, while it is imported, at the gate that the environment names; ``f`` lets the import fail."""

import os
from typing import Any

import msgspec

from mistk_service import AbstractModel

with open(os.environ["TEST_IMPORT_GATE"], "rb", buffering=0) as gate:
    if gate.read(1) == b"f":
        raise ValueError("told to fail")


class Model(AbstractModel):
    def do_train(self) -> None:
        pass


class Settings(msgspec.Struct):
    rate: float
    epochs: int = 3


class Declared(AbstractModel):
    hyperparameters = Settings

    def do_initialize(self, objectives: list[str], props: dict[str, Any], hparams: Settings) -> None:
        self.update_status({"got": msgspec.to_builtins(hparams)})
