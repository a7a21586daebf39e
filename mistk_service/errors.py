"""The error tree of the service.

Every error that the project raises on purpose descends from :class:`MistkError`, carries what it knows as attributes, and
has a message that says what was wrong, what was expected, and what to do. None of them knows HTTP: the table that turns a
class into a status stands in :mod:`mistk_service.doors.mistk.problems`.

::

    MistkError
    ├── InvalidRequest              an argument is wrong; the state has not changed
    │   └── RequestError            the same, raised by a hook of the model
    ├── OperationRefused            the state does not allow the operation; nothing has changed
    │   └── OperationUnsupported    the model class does not implement the operation
    ├── ServiceBusy                 the request could not be taken or finished now; it may be sent again
    ├── PredictionTimedOut          a stream prediction took longer than it may
    ├── ClientGone                  whoever asked has gone, and hears no answer
    ├── HookFailed                  code of the model raised
    ├── WorkerDied                  the worker process ended when it should not have
    ├── ModelLoadError              the model class cannot be had
    │   ├── BadModelReference       the reference itself is malformed
    │   ├── ModelModuleNotFound     no such module or file
    │   ├── ModelModuleFailed       the module raised while it was imported
    │   ├── ModelClassNotFound      the module has no such attribute
    │   ├── NotAModelClass          the attribute is no usable subclass of AbstractModel
    │   └── ModelConstructionFailed the class raised in its constructor
    ├── SettingsError               a setting has a value that it cannot have
    ├── ContractNotFound            the API contract is missing from the installation
    ├── ClientError                 a call to a service from outside did not come to a good end
    │   ├── ServiceUnreachable      nothing answered, or not in time
    │   ├── AnswerNotUnderstood     what answered does not speak the contract
    │   ├── ErrorAnswer             the service answered with an error
    │   │   ├── RequestRefused      4xx: the request cannot be accepted; nothing has changed
    │   │   └── RequestFailed       5xx: the service or the model failed over the request
    │   └── WaitFailed              a state that was waited for will not be reached
    │       └── WaitTimedOut        ... or was not reached in time; a TimeoutError too
    └── TrackingError               see mistk_service.tracking.errors
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "AnswerNotUnderstood",
    "BadModelReference",
    "ClientError",
    "ClientGone",
    "ContractNotFound",
    "ErrorAnswer",
    "Failure",
    "HookFailed",
    "InvalidRequest",
    "MistkError",
    "ModelClassNotFound",
    "ModelConstructionFailed",
    "ModelLoadError",
    "ModelModuleFailed",
    "ModelModuleNotFound",
    "NotAModelClass",
    "OperationRefused",
    "OperationUnsupported",
    "PredictionTimedOut",
    "RequestError",
    "RequestFailed",
    "RequestRefused",
    "ServiceBusy",
    "ServiceUnreachable",
    "SettingsError",
    "TrackingError",
    "WaitFailed",
    "WaitTimedOut",
    "WorkerDied",
]


class MistkError(Exception):
    """The root of the tree; ``str(error)`` is a sentence for the person who has to act on it."""


class InvalidRequest(MistkError):
    """An argument of a call is wrong; nothing was changed.

    Attributes:
        field: the argument or the place inside it, such as ``datasets.train.dataPath``; None where the whole is wrong.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class RequestError(InvalidRequest):
    """Raise it from a hook to refuse a request.

    The caller gets the message with status 400, and the state before is restored.

    Args:
        message: a sentence for the caller that names the problem and what was expected.
        field: the wrong argument, such as ``hyperparameters.epochs``; None if the whole request is wrong.
    """


class OperationRefused(MistkError):
    """The present state does not allow an operation; nothing was changed.

    Attributes:
        operation: the operation asked for, as the contract spells it (``loadData``).
        state: the state at that moment (``training``).
        activity: the operation that runs now, or None.
        possible: the operations that would be accepted now.
    """

    def __init__(
        self, message: str, *, operation: str, state: str, activity: str | None = None, possible: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.operation = operation
        self.state = state
        self.activity = activity
        self.possible = tuple(possible)


class OperationUnsupported(OperationRefused):
    """The model class does not implement the operation; nothing was changed."""


class ServiceBusy(MistkError):
    """The request was right but cannot be answered now, because the model is being reset or the service stops.

    Attributes:
        retry_after: seconds after which a new attempt makes sense, or None.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PredictionTimedOut(MistkError):
    """A stream prediction took longer than it may, and was given up; the model stays as it is."""


class ClientGone(MistkError):
    """Whoever asked has gone; what was to be done for them is not, unless it had begun. Nobody hears this but the counters."""


#: Characters that are kept of the text of an exception, and of its traceback.
_MESSAGE, _TRACEBACK = 8_000, 64_000


@dataclass(frozen=True)
class Failure:
    """What went wrong in a worker, in a form that crosses processes.

    Attributes:
        type: the name of the exception's class, or ``WorkerDied``.
        message: its text; of a very long one the beginning and the end, since every status and every refusal repeats it.
        traceback: the formatted traceback, shortened likewise, or None where there is none.
        output: the last lines that the worker printed, for a worker that died; else empty.
    """

    type: str
    message: str
    traceback: str | None = None
    output: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", _shortened(self.message, _MESSAGE))
        if self.traceback is not None:
            object.__setattr__(self, "traceback", _shortened(self.traceback, _TRACEBACK))

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type

    def told(self, operation: str | None) -> str:
        """Return what a log says of it: the operation over which it came, if any, the reason, and the traceback."""
        over = f"{operation} failed" if operation else "The model failed"
        return f"{over}: {self}" + (f"\n{self.traceback.rstrip()}" if self.traceback else "")


def _shortened(text: str, limit: int) -> str:
    half = limit // 2
    if len(text) <= limit:
        return text
    return f"{text[:half]}\n... {len(text) - 2 * half} characters are left out here ...\n{text[-half:]}"


class HookFailed(MistkError):
    """Code of the model raised an exception.

    Attributes:
        operation: the operation whose hook raised.
        failure: the exception as the worker saw it.
    """

    def __init__(self, operation: str, failure: Failure) -> None:
        super().__init__(f"The model failed in {operation}: {failure}")
        self.operation = operation
        self.failure = failure


class WorkerDied(MistkError):
    """The worker process ended without having been told to.

    Attributes:
        failure: how it ended, in words, with the last lines of its output.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class ModelLoadError(MistkError):
    """The model class cannot be had; a subclass says why.

    Attributes:
        reference: the reference as it was given.
        traceback: the traceback of the model's own code where that raised, else None.
    """

    def __init__(self, message: str, *, reference: str, traceback: str | None = None) -> None:
        super().__init__(message)
        self.reference = reference
        self.traceback = traceback


class BadModelReference(ModelLoadError):
    """The reference is in none of the forms that are understood."""


class ModelModuleNotFound(ModelLoadError):
    """There is no module or file of that name."""


class ModelModuleFailed(ModelLoadError):
    """The module is there, and raised while it was imported."""


class ModelClassNotFound(ModelLoadError):
    """The module is there, and has no attribute of that name."""


class NotAModelClass(ModelLoadError):
    """The attribute is there, and is no subclass of AbstractModel that could be instantiated."""


class ModelConstructionFailed(ModelLoadError):
    """The class is there, and raised in its constructor."""


class SettingsError(MistkError):
    """A setting has a value that it cannot have.

    Attributes:
        setting: the option's name.
    """

    def __init__(self, message: str, *, setting: str) -> None:
        super().__init__(message)
        self.setting = setting


class ContractNotFound(MistkError):
    """A file that belongs to the package, such as the API contract, is missing from the installation."""


class ClientError(MistkError):
    """A call to a service from outside did not come to a good end; a subclass says how."""


class ServiceUnreachable(ClientError):
    """Nothing answered, or not in time. Whether the service has received the request is not known.

    Attributes:
        url: what was asked, without credentials.
    """

    def __init__(self, message: str, *, url: str) -> None:
        super().__init__(message)
        self.url = url


class AnswerNotUnderstood(ClientError):
    """Something answered that does not speak the contract; most likely it is no model container.

    Attributes:
        url: what was asked, without credentials.
    """

    def __init__(self, message: str, *, url: str) -> None:
        super().__init__(message)
        self.url = url


class ErrorAnswer(ClientError):
    """The service answered with an error; the message is the service's.

    Attributes:
        code: the HTTP status.
        operation: the operation that was refused or failed, where the service says so.
        state: the model's state at that moment, where the service says so.
        activity: the operation that ran at that moment, if any.
        possible: the operations that would have been accepted, where the service says so.
        field: the argument that is wrong, or the place inside it, where it is one.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int,
        operation: str | None = None,
        state: str | None = None,
        activity: str | None = None,
        possible: Sequence[str] = (),
        field: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.operation = operation
        self.state = state
        self.activity = activity
        self.possible = tuple(possible)
        self.field = field


class RequestRefused(ErrorAnswer):
    """The service does not accept the request; nothing has changed."""


class RequestFailed(ErrorAnswer):
    """The service, or the model in it, failed over the request or cannot answer it now (503)."""


class WaitFailed(ClientError):
    """A state that was waited for will not be reached.

    Attributes:
        status: the last status known (:class:`mistk_service.client.ModelStatus`), or None.
        failure: why the model failed, if that is the reason.
    """

    def __init__(self, message: str, *, status: object = None, failure: Failure | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.failure = failure


class WaitTimedOut(WaitFailed, TimeoutError):
    """A state that was waited for was not reached in time."""


class TrackingError(MistkError):
    """The root of the errors of :mod:`mistk_service.tracking`."""
