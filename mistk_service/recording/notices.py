"""What the status shows of tracking: the store, what is in the way, and what was not done as it was asked for."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["Notices"]

logger = logging.getLogger(__name__)

#: Sentences that are shown; the newest stay.
_SHOWN = 10


class Notices:
    """Keeps the key ``tracking`` of the status.

    Args:
        show: shows a value under a key of the status; None removes it.
    """

    def __init__(self, show: Callable[[str, Any], None]) -> None:
        self._show = show
        self._store: str | None = None
        self._obstacle: str | None = None
        self._files: str | None = None
        #: Several threads have something to tell.
        self._lock = threading.RLock()
        self._remotes: list[dict[str, Any]] = []
        self._notes: deque[str] = deque(maxlen=_SHOWN)

    def opened(self, store: str) -> None:
        """Show which store it is."""
        self._store = store
        self._show_tracking()

    def obstacle(self, reason: str | None) -> None:
        """Show, and log, what keeps the store from being written; None when it can be written again."""
        if reason is not None:
            logger.error("Tracking has to wait: %s", reason)
        else:
            logger.info("Tracking goes on.")
        self._obstacle = reason
        self._show_tracking()

    def files(self, reason: str | None) -> None:
        """Show, and log, what keeps files from being stored; None when they can be stored again."""
        if reason is not None:
            logger.error("Artifacts have to wait: %s", reason)
        else:
            logger.info("No artifact has to wait any more.")
        self._files = reason
        self._show_tracking()

    def note(self, sentence: str) -> None:
        """Show, and log, what was not done as it was asked for."""
        logger.warning("%s", sentence)
        with self._lock:
            if sentence not in self._notes:
                self._notes.append(sentence)
                self._show_tracking()

    def remotes(self, remotes: list[dict[str, Any]]) -> None:
        """Show how the remotes stand."""
        if remotes != self._remotes:
            self._remotes = remotes
            self._show_tracking()

    def clear(self) -> None:
        """Forget the notes, which belong to an instance that is no more."""
        with self._lock:
            if self._notes:
                self._notes.clear()
                self._show_tracking()

    def _show_tracking(self) -> None:
        with self._lock:
            shown: dict[str, Any] = {"store": self._store}
            if self._obstacle is not None:
                shown["error"] = self._obstacle
            if self._files is not None:
                shown["artifactError"] = self._files
            if self._remotes:
                shown["remotes"] = self._remotes
            if self._notes:
                shown["notes"] = list(self._notes)
            self._show("tracking", shown)
