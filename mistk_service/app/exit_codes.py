"""The exit codes of the commands, from which a platform sees whether another attempt makes sense."""

from __future__ import annotations

from enum import IntEnum

from mistk_service.errors import InvalidRequest, MistkError, OperationRefused, SettingsError, StorageUnreachable
from mistk_service.tracking.errors import StoreUnavailable


class ExitCode(IntEnum):
    """Why a command ended. The numbers from 64 to 78 are those of ``sysexits.h``."""

    DONE = 0
    #: The model raised an exception, died, or cannot be loaded.
    FAILED = 1
    #: An option, a hyperparameter or a dataset is wrong. Another attempt has the same result.
    BAD_INPUT = 2
    #: A storage cannot be reached (``EX_UNAVAILABLE``).
    STORAGE = 69
    #: Interrupted after a checkpoint was written (``EX_TEMPFAIL``).
    CHECKPOINTED = 75
    #: Interrupted without a checkpoint (128 and the number of SIGTERM).
    INTERRUPTED = 143


def exit_code_of(error: MistkError) -> ExitCode:
    """Return the exit code for an error."""
    if isinstance(error, InvalidRequest | OperationRefused | SettingsError):
        return ExitCode.BAD_INPUT
    if isinstance(error, StorageUnreachable | StoreUnavailable):
        return ExitCode.STORAGE
    return ExitCode.FAILED
