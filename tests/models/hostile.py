"""Puts markup wherever a model has a say, and fails when it is told to. The page has to show it as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from mistk_service import AbstractModel

MARKUP = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


class Settings(msgspec.Struct):
    """Its hyperparameters."""

    rate: float = 0.5


class Hostile(AbstractModel):
    hyperparameters = Settings

    def do_initialize(self, objectives: list[str], props: dict[str, Any], hparams: Settings) -> None:
        print(MARKUP)
        self.set_tags({MARKUP: MARKUP})
        self.report_params({"rate": hparams.rate})
        self.update_status({MARKUP: MARKUP})

    def do_train(self) -> None:
        print("about to fail")
        raise ValueError(MARKUP)

    def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> dict[str, Any]:
        answers = {key: {MARKUP: MARKUP, "label": text, "confidence": 0.75} for key, text in data_map.items()}
        return {**answers, "details": f"<p><b>Why:</b> {MARKUP}<a href='javascript:document.title=1'>x</a></p>"}

    def do_generate_stream(self, prompt: str, parameters: dict[str, Any]) -> Iterator[str]:
        yield from [f"{prompt}: ", MARKUP, *(" on" for _ in range(parameters.get("max_tokens", 1)))]
