"""Retries of calls to a store that may be temporarily unavailable."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mistk_service.errors import MistkError
from mistk_service.tracking.errors import StoreUnavailable

#: Seconds between two attempts: the first and the longest delay. The delay doubles from one to the next.
_FIRST, _LONGEST = 0.1, 5.0

T = TypeVar("T")


class RetryTimeout(Exception):
    """The store was unavailable until the recorder had to end."""


class StoreRetry:
    """Repeats a call until the store is available, and reports the error in the meantime.

    Args:
        wait: waits for a number of seconds; returns False if there is no time for another attempt.
        report: called with each new error message, and with None after a success.
    """

    def __init__(self, wait: Callable[[float], bool], report: Callable[[str | None], None]) -> None:
        self._wait = wait
        self._report = report
        self._message: str | None = None
        #: The error of the last attempt, or None.
        self.error: Exception | None = None

    def call(self, call: Callable[[], T], on: type[Exception] = StoreUnavailable) -> T:
        """Return the result of ``call``, which is repeated as long as it raises ``on``.

        Raises:
            RetryTimeout: there was no time for another attempt.
            Exception: any other error of ``call``.
        """
        delay = _FIRST
        while True:
            try:
                result = call()
            except on as error:
                self.error = error
                self._set(str(error) if isinstance(error, MistkError) else f"{type(error).__name__}: {error}")
                if not self._wait(delay):
                    raise RetryTimeout(str(error)) from error
                delay = min(2 * delay, _LONGEST)
            else:
                self.error = None
                self._set(None)
                return result

    def _set(self, message: str | None) -> None:
        if message != self._message:
            self._message = message
            self._report(message)
