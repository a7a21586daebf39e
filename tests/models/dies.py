"""Its process dies in training, in the way that the property ``how`` names, after it has printed some lines."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from typing import Any

from mistk_service import AbstractModel

WAYS = {
    "os._exit": lambda: os._exit(3),
    "segfault": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "sigkill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "signal 63": lambda: os.kill(os.getpid(), 63),
    "closes its files": lambda: (os.closerange(3, 256), threading.Event().wait()),
}


class Dies(AbstractModel):
    def do_initialize(self, objectives: list[str], props: dict[str, Any], hparams: dict[str, Any]) -> None:
        self._how = props.get("how", "os._exit")

    def do_train(self) -> None:
        print("the first line")
        print("the last words", file=sys.stderr)
        WAYS[self._how]()

    def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> dict[str, Any]:
        WAYS[self._how]()
        return {}
