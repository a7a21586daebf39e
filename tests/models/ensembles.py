"""Shows what reaches the hooks of an ensemble, and writes a small model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mistk_service import AbstractModel, RequestError


class Ensembles(AbstractModel):
    def __init__(self) -> None:
        self._calls: list[Any] = []

    def do_build_ensemble(self, ensemble_path: str | None = None, model_paths: dict[str, str] | None = None) -> None:
        if "odd" in (model_paths or {}):
            raise RequestError("odd is no model of this kind.")
        self._calls = [["ensemble", ensemble_path, model_paths]]

    def do_build_model(self, path: str | None = None) -> None:
        self._calls.append(["model", path])
        self.update_status({"calls": self._calls})

    def do_save_model(self, path: str) -> None:
        Path(path, "model.txt").write_text("saved")

    def do_miniaturize(self, dataPath: str, includeHalfPrecision: bool) -> None:
        Path(dataPath, "small.txt").write_text(f"half precision: {includeHalfPrecision}")
