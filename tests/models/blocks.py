"""Blocks for ever in training, in the way that the property ``how`` names."""

from __future__ import annotations

import re
import threading
from typing import Any, cast

from mistk_service import AbstractModel


class Blocks(AbstractModel):
    def do_initialize(self, objectives: list[str], props: dict[str, Any], hparams: dict[str, Any]) -> None:
        self._how = props.get("how", "wait")

    def do_train(self) -> None:
        self.update_status({"blocking": True})
        if self._how == "wait":
            threading.Event().wait()
        elif self._how == "gil":
            # The status has to leave first: nothing else gets a turn in this process from now on.
            cast(Any, self._mistk()).flush()
            re.match(r"(a+)+$", "a" * 64 + "b")
        elif self._how == "loop":
            while True:
                pass
        else:
            self._ignore_everything()

    def _ignore_everything(self) -> None:
        while True:
            try:
                self.pause_point()
            except BaseException:
                self.update_status({"ignored": True})
                threading.Event().wait()

    def do_terminate(self) -> None:
        if self._how == "last hook":
            threading.Event().wait()
