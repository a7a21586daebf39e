"""Answers every kind of prediction with its process id."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from mistk_service import AbstractModel


class Spread(AbstractModel):
    inputs = (("x", "int64", (-1,)),)
    outputs = (("pid", "int64", (-1,)),)

    def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> dict[str, Any]:
        return dict.fromkeys(data_map, os.getpid())

    def do_infer(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return {"pid": np.full(inputs["x"].shape, os.getpid(), np.int64)}

    def do_generate_stream(self, prompt: str, parameters: dict[str, Any]) -> Iterator[str]:
        yield str(os.getpid())


class Devices(Spread):
    def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> dict[str, Any]:
        seen = {"gpu": os.environ["CUDA_VISIBLE_DEVICES"], "threads": os.environ["OMP_NUM_THREADS"]}
        return dict.fromkeys(data_map, seen)
