"""Return the tensors that they get, or do what the tensor ``then`` says."""

from __future__ import annotations

from typing import Any

import numpy as np

from mistk_service import AbstractModel, RequestError


class Echo(AbstractModel):
    def do_infer(self, inputs: dict[str, Any]) -> Any:
        then = inputs["then"][0].decode() if "then" in inputs else ""
        if then == "raise":
            raise ValueError("told to raise")
        if then == "refuse":
            raise RequestError("told to refuse")
        if then == "refuse at length":
            raise RequestError("told to refuse " * 100_000)
        if then == "raise in Chinese":
            raise ValueError("不行" * 4_000)
        if then == "write":
            inputs["then"][0] = b""
        if then == "shorten":
            return {"a": inputs["then"][1:]}
        if then == "odd":
            return {"a": np.zeros(1, np.complex64)}
        return [1] if then == "list" else inputs


class Declaring(Echo):
    outputs = (("a", "float32", (-1, 2)),)
