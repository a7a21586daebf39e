"""Calls to a store that may be unable to answer just now."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mistk_service.errors import MistkError
from mistk_service.tracking.errors import StoreUnavailable

__all__ = ["OutOfTime", "Patience"]

#: Seconds between two attempts: at first, and at most. The wait doubles from one to the next.
_FIRST, _LONGEST = 0.1, 5.0

T = TypeVar("T")


class OutOfTime(Exception):
    """The store did not come back before the reporter had to end."""


class Patience:
    """Repeats a call until the store can do it, and says meanwhile what the obstacle is.

    Args:
        wait: waits so many seconds; returns False when there is no time left to wait for anything.
        tell: is told of the obstacle in words, once for each, and None when it is gone.
    """

    def __init__(self, wait: Callable[[float], bool], tell: Callable[[str | None], None]) -> None:
        self._wait = wait
        self._tell = tell
        self._obstacle: str | None = None
        #: What the last attempt raised; None where it did not.
        self.error: Exception | None = None

    def insist(self, call: Callable[[], T], on: type[Exception] = StoreUnavailable) -> T:
        """Return what ``call`` returns, repeating it for as long as it raises ``on``.

        Raises:
            OutOfTime: there was no time for another attempt.
            Exception: anything else that ``call`` raised.
        """
        delay = _FIRST
        while True:
            try:
                result = call()
            except on as error:
                self.error = error
                self._set(str(error) if isinstance(error, MistkError) else f"{type(error).__name__}: {error}")
                if not self._wait(delay):
                    raise OutOfTime(str(error)) from error
                delay = min(2 * delay, _LONGEST)
            else:
                self.error = None
                self._set(None)
                return result

    def _set(self, obstacle: str | None) -> None:
        if obstacle != self._obstacle:
            self._obstacle = obstacle
            self._tell(obstacle)
