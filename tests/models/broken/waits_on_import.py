"""Waits, while it is imported, at the gate that the environment names; ``f`` lets the import fail."""

import os

from mistk_service import AbstractModel

with open(os.environ["TEST_IMPORT_GATE"], "rb", buffering=0) as gate:
    if gate.read(1) == b"f":
        raise ValueError("told to fail")


class Model(AbstractModel):
    def do_train(self) -> None:
        pass
