"""The states of an evaluation instance."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """The states of an evaluation instance; the values are those of the wire."""

    STARTED = "started"
    READY = "ready"
    EVALUATING = "evaluating"
    RESETTING = "resetting"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    FAILED = "failed"
