"""Says which process answers, and with which settings; records say what else it does."""

from __future__ import annotations

import os
import threading
from typing import Any

from mistk_service import AbstractModel, RequestError


class Replicated(AbstractModel):
    def __init__(self) -> None:
        self._props: dict[str, Any] = {}
        self._built = 0

    def do_build_model(self, path: str | None = None) -> None:
        self._built += 1

    def do_train(self) -> None:
        self._props["trained"] = True

    def do_update_stream_properties(self, props: dict[str, Any]) -> None:
        if "refused" in props:
            raise RequestError("told to refuse")
        self._props |= props

    def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> dict[str, Any]:
        if "die" in data_map:
            os._exit(3)
        if "wait" in data_map:
            with open(data_map["wait"], "rb", buffering=0) as gate:
                gate.read(1)
        who = f"{os.getpid()}/{threading.get_ident()}"
        return {key: {"who": who, "props": self._props, "built": self._built} for key in data_map}
