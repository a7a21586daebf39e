"""Takes and returns texts, JSON, CSV and images; what the hook got shows in the outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from mistk_service import AbstractModel


class Described(AbstractModel):
    """Tells what it gets for each of its inputs."""

    max_batch_size = 8
    inputs = (
        ("caption", "text"),
        ("about", "json"),
        ("table", "csv"),
        ("photo", "image", (-1, 2, 3, 3)),
    )
    outputs = (("told", "json"), ("upper", "text"), ("rows", "csv"), ("negative", "image"))

    def do_infer(self, inputs: dict[str, Any]) -> dict[str, Any]:
        told = [
            {"caption": caption, "about": about, "table": table, "photo": photo}
            for caption, about, table, photo in zip(*inputs.values(), strict=True)
        ]
        return {
            "told": told,
            "upper": [each.upper() for each in inputs["caption"]],
            "rows": inputs["table"],
            "negative": 255 - inputs["photo"],
        }


class AnyJson(AbstractModel):
    inputs = (("question", "json"),)

    def do_infer(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return {"kind": np.array([type(each).__name__ for each in inputs["question"]])}


class Grey(AbstractModel):
    """Takes grey images of any size."""

    inputs = (("photo", "image", (-1, -1, -1)),)

    def do_infer(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return {"size": np.array([each.shape for each in inputs["photo"]])}


class Coloured(AbstractModel):
    inputs = (("photo", "image", (-1, 2, 3, 5)),)

    def do_infer(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return inputs
