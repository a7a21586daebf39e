"""The states of a transform instance."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """The states of a transform instance; the values are those of the wire."""

    STARTED = "started"
    READY = "ready"
    TRANSFORMING = "transforming"
    RESETTING = "resetting"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    FAILED = "failed"
