"""Counts what it is asked about."""

from collections.abc import Mapping
from typing import Any

from mistk_service import AbstractModel


class Shop(AbstractModel):
    """Answers with the length of each record as it came."""

    def do_build_model(self, path: str | None = None) -> None:
        """Nothing is to be built."""

    def do_stream_predict(self, data_map: Mapping[str, str], details: bool = False) -> dict[str, Any]:
        return {key: len(value) for key, value in data_map.items()}
