"""The statistics of a model, in the form of Triton's statistics extension.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self


class Statistics:
    """Counts the requests for inference and adds up how long they took."""

    def __init__(self) -> None:
        self._successes = self._failures = self._inferences = self._last = 0
        #: Nanoseconds of the requests, those of each stage, and those of the requests that failed.
        self._success = self._fail = self._input = self._infer = self._output = 0

    def measure(self) -> Measurement:
        """Return a context that measures one request."""
        return Measurement(self)

    def add(self, begin: int, read: int, inferred: int, end: int, records: int) -> None:
        """Add a request that succeeded: the nanoseconds at which its stages ended, and the number of records answered."""
        self._input += read - begin
        self._infer += inferred - read
        self._output += end - inferred
        self._success += end - begin
        self._successes += 1
        self._inferences += records
        self._last = time.time_ns() // 1_000_000

    def add_failure(self, nanoseconds: int) -> None:
        """Add a request that failed."""
        self._fail += nanoseconds
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
                "success": {"count": self._successes, "ns": self._success},
                "fail": {"count": self._failures, "ns": self._fail},
                # ``compute_infer`` includes the wait in the queue, which is not measured separately.
                "compute_input": {"count": self._successes, "ns": self._input},
                "compute_infer": {"count": self._successes, "ns": self._infer},
                "compute_output": {"count": self._successes, "ns": self._output},
                **{each: {"count": 0, "ns": 0} for each in ("queue", "cache_hit", "cache_miss")},
            },
            "batch_stats": [],
        }


class Measurement:
    """Measures one request, which fails if the context ends with an exception."""

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics
        self._records = 0
        self._begin = self._read = self._inferred = time.perf_counter_ns()

    def read(self, records: int) -> None:
        """Record that the request has been read, and the number of its records."""
        self._records = records
        self._read = time.perf_counter_ns()

    def inferred(self) -> None:
        """Record that the model has answered."""
        self._inferred = time.perf_counter_ns()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        now = time.perf_counter_ns()
        if kind is None:
            self._statistics.add(self._begin, self._read, self._inferred, now, self._records)
        else:
            self._statistics.add_failure(now - self._begin)
