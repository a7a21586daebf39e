"""Streams values of a running activity to its client: each is sent at once, but the model never gets far ahead."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from mistk_service.workers.child.part_streams import part_of
from mistk_service.workers.messages import PARTS_AHEAD, FromWorker, PartPredicted


class Publisher:
    """Sends what the hook of an activity publishes, at most :data:`PARTS_AHEAD` parts ahead of the client. Thread-safe.

    Args:
        send: sends a message to the service.
    """

    def __init__(self, send: Callable[[FromWorker], None]) -> None:
        self._send = send
        self._changed = threading.Condition()
        self._activity: int | None = None
        self._ahead = 0
        self._closed = False
        #: Whether a streaming activity is running and its client accepts more.
        self.streaming = False

    def begin(self, number: int, *, wanted: bool) -> None:
        """Begin an activity that streams; ``wanted`` says whether it has not been cancelled yet."""
        with self._changed:
            self._activity, self._ahead = number, PARTS_AHEAD
            self.streaming = wanted and not self._closed

    def allow(self, number: int, parts: int) -> None:
        """Let the activity publish further parts."""
        with self._changed:
            if number == self._activity:
                self._ahead += parts
                self._changed.notify_all()

    def stop(self) -> None:
        """End the stream: it has been cancelled, or the activity has ended. What is published from now on is dropped."""
        with self._changed:
            self.streaming = False
            self._changed.notify_all()

    def close(self) -> None:
        """End the stream, and let no other begin, because the worker exits."""
        self._closed = True
        self.stop()

    def publish(self, value: Any) -> None:
        """Send a value. Block while the client is slow. Without a client, drop it.

        Raises:
            TypeError: JSON cannot express the value.
            ValueError: it is too large.
        """
        if not self.streaming:
            return
        part = part_of(value)
        with self._changed:
            self._changed.wait_for(lambda: self._ahead > 0 or not self.streaming)
            if not self.streaming or self._activity is None:
                return
            self._ahead -= 1
            # Under the lock, so that parts of several threads keep the order in which they were counted.
            self._send(PartPredicted(self._activity, part))
