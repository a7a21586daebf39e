"""Exponential backoff with jitter."""

from __future__ import annotations

import random
from collections.abc import Callable

#: Seconds: after the first failure, and at most.
_FIRST, _MOST = 1.0, 30.0


class Backoff:
    """Delays that double with every failure in a row, each shortened at random so that clients do not retry in step.

    Args:
        jitter: returns a random number from 0 to 1.
        first: the longest delay after the first failure, in seconds.
        most: the longest delay of all, in seconds.
    """

    def __init__(
        self, jitter: Callable[[], float] = random.random, *, first: float = _FIRST, most: float = _MOST
    ) -> None:
        self._jitter = jitter
        self._first = first
        self._most = most
        self._failures = 0

    def next(self, retry_after: float | None = None) -> float:
        """Count a failure, and return the seconds to wait before the next attempt.

        Args:
            retry_after: the remote's own minimum, in seconds.
        """
        longest = min(self._most, self._first * 2.0 ** min(self._failures, 32))
        self._failures += 1
        wait = longest * (0.5 + 0.5 * self._jitter())
        return wait if retry_after is None else retry_after + 0.1 * wait

    def reset(self) -> None:
        """Start again with the first delay, after a success."""
        self._failures = 0
