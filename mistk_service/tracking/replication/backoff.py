"""How long to wait before the next try."""

from __future__ import annotations

import random
from collections.abc import Callable

__all__ = ["Backoff"]

#: Seconds: after the first failure, and at most.
_FIRST, _MOST = 1.0, 30.0


class Backoff:
    """Waits that double with every failure in a row, each shortened by chance, so that many clients do not come together.

    Args:
        jitter: gives a number from 0 to 1.
        first: seconds after the first failure.
        most: seconds at most.
    """

    def __init__(
        self, jitter: Callable[[], float] = random.random, *, first: float = _FIRST, most: float = _MOST
    ) -> None:
        self._jitter = jitter
        self._first = first
        self._most = most
        self._failures = 0

    def next(self, retry_after: float | None = None) -> float:
        """Return the seconds to wait after one more failure.

        Args:
            retry_after: seconds that the remote asks for; it does not get less.
        """
        longest = min(self._most, self._first * 2.0 ** min(self._failures, 32))
        self._failures += 1
        wait = longest * (0.5 + 0.5 * self._jitter())
        return wait if retry_after is None else retry_after + 0.1 * wait

    def reset(self) -> None:
        """Begin anew, after a success."""
        self._failures = 0
