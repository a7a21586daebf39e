"""The entry ``tracking`` of the status: the store, current errors, and notes about deviations from a request."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)

#: The number of notes that are shown; the newest stay.
_SHOWN = 10


class TrackingStatus:
    """Keeps the entry ``tracking`` of the status up to date. May be used from any thread.

    Args:
        show: shows a value under a key of the status; None removes it.
    """

    def __init__(self, show: Callable[[str, Any], None]) -> None:
        self._show = show
        self._lock = threading.RLock()
        #: The values of the entry, in the order in which they are shown.
        self._entry: dict[str, Any] = dict.fromkeys(("store", "error", "artifactError", "remotes"))
        self._notes: deque[str] = deque(maxlen=_SHOWN)

    def opened(self, store: str) -> None:
        """Show the URI of the store."""
        self._set("store", store)

    def store_error(self, reason: str | None) -> None:
        """Show and log why the store cannot be written; None when it can be written again."""
        self._set_error("error", reason, "The tracking store cannot be written now", "Tracking resumed.")

    def artifact_error(self, reason: str | None) -> None:
        """Show and log why artifacts cannot be stored; None when they can be stored again."""
        self._set_error("artifactError", reason, "Artifacts cannot be stored now", "Artifacts are stored again.")

    def _set_error(self, key: str, reason: str | None, problem: str, solved: str) -> None:
        if reason is None:
            logger.info(solved)
        else:
            logger.error("%s: %s", problem, reason)
        self._set(key, reason)

    def note(self, sentence: str) -> None:
        """Show and log a note about something that was done differently than requested."""
        logger.warning("%s", sentence)
        with self._lock:
            if sentence not in self._notes:
                self._notes.append(sentence)
                self._show_tracking()

    def remotes(self, remotes: list[dict[str, Any]]) -> None:
        """Show the states of the remotes."""
        if remotes != (self._entry["remotes"] or []):
            self._set("remotes", remotes or None)

    def clear(self) -> None:
        """Remove the notes, which belong to an earlier instance."""
        with self._lock:
            if self._notes:
                self._notes.clear()
                self._show_tracking()

    def _set(self, key: str, value: Any) -> None:
        with self._lock:
            self._entry[key] = value
            self._show_tracking()

    def _show_tracking(self) -> None:
        with self._lock:
            given = {"notes": list(self._notes) or None}
            shown = {key: value for key, value in (self._entry | given).items() if value is not None or key == "store"}
            self._show("tracking", shown)
