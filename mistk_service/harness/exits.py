"""The exit codes of ``mistk-service run``."""

from __future__ import annotations

from enum import IntEnum

from mistk_service.errors import (
    AnswerNotUnderstood,
    InvalidRequest,
    LaunchFailed,
    MistkError,
    RequestFailed,
    RequestRefused,
    ServiceUnreachable,
    ValidationFailed,
    WaitFailed,
)


class Exit(IntEnum):
    """How a run ended."""

    COMPLETED = 0
    UNEXPECTED = 1
    BAD_INPUT = 2
    REFUSED = 3
    FAILED = 4
    UNREACHABLE = 5


_CODES: tuple[tuple[type[MistkError], Exit], ...] = (
    (InvalidRequest, Exit.BAD_INPUT),
    (RequestRefused, Exit.REFUSED),
    (RequestFailed, Exit.FAILED),
    (WaitFailed, Exit.FAILED),
    (LaunchFailed, Exit.FAILED),
    (ValidationFailed, Exit.FAILED),
    (ServiceUnreachable, Exit.UNREACHABLE),
    (AnswerNotUnderstood, Exit.UNREACHABLE),
)


def exit_of(error: MistkError) -> Exit:
    """Return the exit code for the error that ended a run."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.UNEXPECTED)
