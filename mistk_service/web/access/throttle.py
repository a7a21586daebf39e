"""A limit on failed log-ins."""

from __future__ import annotations

import math
import time

from mistk_service.errors import TooManyAttempts

#: The number of log-ins that may fail, and the window in seconds, by address and by user name.
FAILURES, WINDOW = 10, 60.0

#: The maximum number of addresses and names to remember.
_KEPT = 10_000


class Throttle:
    """Counts failed log-ins. After too many, further ones are refused until the window has passed.

    Correct tokens are accepted in any case: an attacker behind the same proxy must not lock others out.
    """

    def __init__(self) -> None:
        self._failed: dict[str, tuple[int, float]] = {}

    def check(self, *keys: str) -> None:
        """Raise an error unless a log-in may be tried.

        Raises:
            TooManyAttempts: too many have failed for one of the keys.
        """
        now = time.monotonic()
        for key in keys:
            count, end = self._failed.get(key, (0, 0.0))
            if count >= FAILURES and now < end:
                raise TooManyAttempts(
                    f"Too many log-ins have failed. Try again in {math.ceil(end - now)} s.", retry_after=end - now
                )

    def failed(self, *keys: str) -> None:
        """Count a failed log-in."""
        now = time.monotonic()
        if len(self._failed) >= _KEPT:
            self._failed = {key: entry for key, entry in self._failed.items() if entry[1] > now}
            if len(self._failed) >= _KEPT:
                self._failed.clear()
        for key in keys:
            count, end = self._failed.get(key, (0, 0.0))
            self._failed[key] = (count + 1, end) if now < end else (1, now + WINDOW)
