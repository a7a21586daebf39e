"""Predicts for sources by their names; each name is a behaviour."""

from __future__ import annotations

import itertools
import threading
from typing import Any

from mistk_service import AbstractModel, RequestError


class Sources(AbstractModel):
    def do_stream_predict_source(self, source: str, format: str | None, props: dict[str, Any]) -> None:
        getattr(self, f"_do_{source}")(format, props)

    def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> dict[str, Any]:
        return dict(data_map)

    def _do_arguments(self, format: str | None, props: dict[str, Any]) -> None:
        self.update_source_predictions({"format": format, "props": props})

    def _do_polling(self, format: str | None, props: dict[str, Any]) -> None:
        """Go on until the flag by which MISTK's models stop is down."""
        turn = threading.Event()
        for number in itertools.count():
            if not self._model_streaming:
                self.update_source_predictions({"late": "dropped"})
                self.update_status({"ended": "by the flag"})
                return
            self.update_source_predictions({str(number): number})
            turn.wait(0.005)

    def _do_steps(self, format: str | None, props: dict[str, Any]) -> None:
        """Go on until a pause point ends it, without a prediction after the first."""
        self.update_source_predictions({"0": "first"})
        turn = threading.Event()
        for _ in self.steps(itertools.count(), "records"):
            turn.wait(0.005)

    def _do_flood(self, format: str | None, props: dict[str, Any]) -> None:
        """Publish as fast as it gets rid of it, and say how much."""
        for number in self.steps(range(1000), "records"):
            self.update_source_predictions({str(number): "x" * 100_000})

    def _do_refused(self, format: str | None, props: dict[str, Any]) -> None:
        raise RequestError("There is no such source.", field="source")

    def _do_raise(self, format: str | None, props: dict[str, Any]) -> None:
        raise ValueError("told to raise")

    def _do_raise_late(self, format: str | None, props: dict[str, Any]) -> None:
        self.update_source_predictions({"0": "first"})
        raise ValueError("told to raise")

    def _do_odd(self, format: str | None, props: dict[str, Any]) -> None:
        self.update_source_predictions({"0": object()})
