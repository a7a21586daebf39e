"""Answers with what it was called with, so that a test sees which requests were merged.

The record ``hold`` waits at the gate (property ``gate``), ``guilty`` raises, ``forgotten`` is left out of the answer.
"""

from __future__ import annotations

import os
import weakref
from typing import Any

import numpy as np

from mistk_service import AbstractModel


class Batching(AbstractModel):
    max_batch_size = 8

    def do_initialize(self, objectives: list[str], props: dict[str, Any], hparams: dict[str, Any]) -> None:
        self._gate: int | None = None
        if "gate" in props:
            # At once, also where the test is over and nobody holds the other end any more.
            self._gate = os.open(props["gate"], os.O_RDONLY | os.O_NONBLOCK)
            os.set_blocking(self._gate, True)
            weakref.finalize(self, os.close, self._gate)
        self._calls = 0

    def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> dict[str, Any]:
        if "guilty" in data_map.values():
            raise ValueError(f"one of {len(data_map)} records is guilty")
        if "hold" in data_map.values():
            assert self._gate is not None
            self.update_status({"holding": True})
            os.read(self._gate, 1)
        self._calls += 1
        return {
            key: {"record": value, "together": len(data_map), "call": self._calls, "details": details}
            for key, value in data_map.items()
            if value != "forgotten"
        }


class BatchingTensors(Batching):
    """The same for tensors: the input ``a`` has the records, one byte string each."""

    def do_infer(self, inputs: dict[str, Any]) -> dict[str, Any]:
        answers = self.do_stream_predict({str(n): value.decode() for n, value in enumerate(inputs["a"])})
        return {name: np.array([each[name] for each in answers.values()]) for name in ("record", "together", "call")}


class WholeVectors(BatchingTensors):
    """Takes one vector of four records, so that its first dimension counts no requests."""

    inputs = (("a", "bytes", [4]),)
    outputs = (("record", "bytes", [4]), ("together", "int64", [4]), ("call", "int64", [4]))


class OneAtATime(Batching):
    max_batch_size = 1


class WithoutDetails(AbstractModel):
    """Has the signature of MISTK's earlier models."""

    def do_stream_predict(self, data_map):  # type: ignore[override]
        return {key: value.upper() for key, value in data_map.items()}


class KeywordDetails(AbstractModel):
    def do_stream_predict(self, data_map, *, details=False):  # type: ignore[override]
        return dict.fromkeys(data_map, details)
