"""Finds the known name that is nearest to a misspelt one."""

import base64
from collections.abc import Mapping
from typing import Any

from rapidfuzz import process

from mistk_service import AbstractModel


class Names(AbstractModel):
    """Knows some names, and answers with the one that is nearest to what it is asked."""

    def do_build_model(self, path: str | None = None) -> None:
        self._names = ("Ada", "Grace", "Katherine", "Dorothy")

    def do_stream_predict(self, data_map: Mapping[str, str], details: bool = False) -> dict[str, Any]:
        return {key: self._nearest(base64.b64decode(value).decode()) for key, value in data_map.items()}

    def _nearest(self, text: str) -> dict[str, Any]:
        name, score, _ = process.extractOne(text, self._names)
        return {"name": name, "score": round(score, 1)}
