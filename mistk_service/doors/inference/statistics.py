"""The statistics of a model, in the form of Triton's statistics extension.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Literal, Self

#: The timings of every request. ``compute_infer`` includes the wait in the queue, which is not measured separately.
Stage = Literal["compute_input", "compute_infer", "compute_output"]


class Statistics:
    """Counts the requests for inference and adds up how long they took."""

    def __init__(self) -> None:
        self._successes = self._failures = self._inferences = self._last = 0
        self._nanoseconds = {"success": 0, "fail": 0, "compute_input": 0, "compute_infer": 0, "compute_output": 0}

    def measure(self) -> Measurement:
        """Return a context that measures one request."""
        return Measurement(self)

    def add(self, durations: dict[str, int], records: int) -> None:
        """Add a request that succeeded: nanoseconds by statistic, and the number of records answered."""
        for statistic, nanoseconds in durations.items():
            self._nanoseconds[statistic] += nanoseconds
        self._successes += 1
        self._inferences += records
        self._last = time.time_ns() // 1_000_000

    def add_failure(self, nanoseconds: int) -> None:
        """Add a request that failed."""
        self._nanoseconds["fail"] += nanoseconds
        self._failures += 1
        self._last = time.time_ns() // 1_000_000

    def to_wire(self, name: str, version: str) -> dict[str, Any]:
        """Return the statistics as JSON."""
        return {
            "name": name,
            "version": version,
            "last_inference": self._last,
            "inference_count": self._inferences,
            # Requests with tensors are not merged.
            "execution_count": self._successes,
            "inference_stats": {
                **{
                    each: {"count": self._failures if each == "fail" else self._successes, "ns": nanoseconds}
                    for each, nanoseconds in self._nanoseconds.items()
                },
                **{each: {"count": 0, "ns": 0} for each in ("queue", "cache_hit", "cache_miss")},
            },
            "batch_stats": [],
        }


class Measurement:
    """Measures one request, which fails if the context ends with an exception.

    Attributes:
        records: the number of records in the request.
    """

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics
        self._durations: dict[str, int] = {}
        self._begin = self._last = time.perf_counter_ns()
        self.records = 0

    def end(self, stage: Stage) -> None:
        """Record that a stage has ended, and the next one begins."""
        now = time.perf_counter_ns()
        self._durations[stage] = now - self._last
        self._last = now

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        whole = time.perf_counter_ns() - self._begin
        if kind is None:
            self._durations["success"] = whole
            self._statistics.add(self._durations, self.records)
        else:
            self._statistics.add_failure(whole)
