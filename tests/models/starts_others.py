"""Starts processes and threads in training, which outlive it; the status tells their ids."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from typing import Any, cast

from mistk_service import AbstractModel


def _fork() -> int:
    if pid := os.fork():
        return pid
    # A copy of the worker, with all that it had open.
    signal.pause()
    os._exit(0)


def _run() -> int:
    return subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], close_fds=False).pid


class StartsOthers(AbstractModel):
    def do_initialize(self, objectives: list[str], props: dict[str, Any], hparams: dict[str, Any]) -> None:
        self._then = props.get("then", "return")

    def do_train(self) -> None:
        self.update_status({"started": [_fork(), _run()], "worker": os.getpid()})
        # Before the end in any of these ways, some of which would not let it leave by itself.
        cast(Any, self._mistk()).flush()
        if self._then == "die":
            os._exit(3)
        elif self._then == "gil":
            re.match(r"(a+)+$", "a" * 64 + "b")
        elif self._then == "wait":
            threading.Event().wait()

    def do_predict(self) -> None:
        threading.Thread(target=threading.Event().wait, name="not a daemon").start()
