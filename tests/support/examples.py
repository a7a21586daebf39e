"""The number of examples of property tests: few for every change, thousands in ``make test-long``."""

from __future__ import annotations

from hypothesis import settings

__all__ = ["LONG", "LONG_FACTOR", "examples"]

#: The profile's name.
LONG = "long"
#: How many times as many examples it tries.
LONG_FACTOR = 50


def examples(count: int) -> int:
    """Return how many examples to try where ``count`` are tried on every change."""
    return count * LONG_FACTOR if settings.get_current_profile_name() == LONG else count
