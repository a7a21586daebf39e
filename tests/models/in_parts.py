"""Answers in parts: as many as the record ``n`` says, each a number; without end for ``-1``.

Instead of the part with the number of the record ``at``, it does what the record ``then`` says. Whether a generator is closed,
and how many parts it has produced, shows in the status.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from mistk_service import AbstractModel, RequestError


class InParts(AbstractModel):
    max_batch_size = 8

    def __init__(self) -> None:
        self._produced: dict[str, int] = {}

    def do_stream_predict(  # type: ignore[override]
        self, data_map: dict[str, str], details: bool = False
    ) -> Iterator[Any]:
        name, count, at = data_map.get("name", ""), int(data_map["n"]), int(data_map.get("at", -1))
        number = 0
        try:
            while number != count:
                if number == at:
                    self._do(data_map["then"])
                self._produced[name] = number + 1
                yield {"part": number}
                number += 1
        finally:
            self.update_status({"produced": dict(self._produced), "closed": name})

    def _do(self, what: str) -> None:
        if what == "raise":
            raise ValueError("told to raise")
        if what == "refuse":
            raise RequestError("told to refuse", field="dataMap")
        if what == "exit":
            os._exit(3)


class EitherWay(AbstractModel):
    """Answers at once, or in parts where the record ``n`` is given."""

    def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> Any:
        return ({"part": number} for number in range(int(data_map["n"]))) if "n" in data_map else {"whole": True}
