"""The error tree of the service.

Every error that the project raises on purpose descends from :class:`MistkError` and has its details as attributes. Its message
says what was wrong, what was expected, and what to do. The errors know nothing of HTTP:
:mod:`mistk_service.doors.mistk.problems` maps each class to a status.

::

    MistkError
    ├── InvalidRequest              an argument is wrong; the state has not changed
    │   └── RequestError            the same, raised by a hook of the model
    ├── OperationRefused            the state does not allow the operation; nothing has changed
    │   └── OperationUnsupported    the model class does not implement the operation
    ├── NotAuthenticated            the request has no valid credentials
    │   └── TooManyAttempts         log-ins from there have failed too often
    ├── NotAllowed                  the sender of the request may not do that
    ├── ServiceBusy                 the service cannot accept or finish the request now; it can be sent again
    ├── PredictionTimedOut          a stream prediction exceeded its timeout
    ├── ClientGone                  the client has disconnected
    ├── HookFailed                  a hook of the model raised an exception
    ├── WorkerDied                  the worker process ended unexpectedly
    ├── ModelLoadError              the model class cannot be loaded
    │   ├── BadModelReference       the reference itself is malformed
    │   ├── ModelModuleNotFound     the module or file does not exist
    │   ├── ModelModuleFailed       the module raised an exception on import
    │   ├── ModelClassNotFound      the module does not have the attribute
    │   ├── NotAModelClass          the attribute is not a usable subclass of AbstractModel
    │   └── ModelConstructionFailed the constructor of the class raised an exception
    ├── SettingsError               a setting has an invalid value
    ├── StorageUnreachable          a storage of models or data cannot be reached now; it can be tried again
    ├── ContractNotFound            the API contract is missing from the installation
    ├── ClientError                 a client's call to a service failed
    │   ├── ServiceUnreachable      the service did not respond, or not in time
    │   ├── AnswerNotUnderstood     the response does not follow the contract
    │   ├── LaunchFailed            a container that was to be started did not start
    │   ├── ValidationFailed        what a container wrote is not valid
    │   ├── ErrorAnswer             the service returned an error
    │   │   ├── RequestRefused      4xx: the service does not accept the request; nothing has changed
    │   │   └── RequestFailed       5xx: the service or the model failed to handle the request
    │   ├── WaitFailed              the expected state will not be reached
    │   │   └── WaitTimedOut        the expected state was not reached in time; also a TimeoutError
    │   └── AgentFailed             an agent did not answer, refused or failed
    └── TrackingError               the root of the errors in mistk_service.tracking.errors
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class MistkError(Exception):
    """The root of the tree. ``str(error)`` is a message for the person who has to act on it."""


class InvalidRequest(MistkError):
    """An argument of a call is wrong. Nothing has changed.

    Attributes:
        field: the argument or the place inside it, such as ``datasets.train.dataPath``; None if the request as a whole is
            wrong.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class RequestError(InvalidRequest):
    """Raise this in a hook to refuse a request.

    The caller receives the message with status 400, and the previous state is restored.

    Args:
        message: a sentence for the caller that names the problem and what was expected.
        field: the wrong argument, such as ``hyperparameters.epochs``; None if the whole request is wrong.
    """


class OperationRefused(MistkError):
    """The current state does not allow an operation. Nothing has changed.

    Attributes:
        operation: the requested operation, as the contract spells it (``loadData``).
        state: the state at that moment (``training``).
        activity: the running operation, or None.
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
    """The model class does not implement the operation. Nothing has changed."""


class NotAuthenticated(MistkError):
    """The request has no credentials, or wrong ones."""


class TooManyAttempts(NotAuthenticated):
    """Too many log-ins with wrong credentials came from the same place.

    Attributes:
        retry_after: seconds to wait before a retry.
    """

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotAllowed(MistkError):
    """The role or the permissions of a client do not allow the request. Nothing has changed."""


class ServiceBusy(MistkError):
    """The request is valid but cannot be answered now, because the model is being reset or the service is shutting down.

    Attributes:
        retry_after: seconds to wait before a retry, or None.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PredictionTimedOut(MistkError):
    """A stream prediction exceeded its timeout and was cancelled. The state of the model has not changed."""


class ClientGone(MistkError):
    """The client disconnected before it received a response. Work that had not begun is cancelled.

    Only the metrics show this error.
    """


#: The maximum length of an exception's text and of its traceback, in characters.
_MESSAGE, _TRACEBACK = 8_000, 64_000


@dataclass(frozen=True)
class Failure:
    """What went wrong in a worker, in a form that can cross a process boundary.

    Attributes:
        type: the name of the exception's class, or ``WorkerDied``.
        message: the text of the exception. The middle of a very long text is left out, since every status repeats it.
        traceback: the formatted traceback, shortened in the same way; None if there is none.
        output: the last lines that the worker printed, if the worker died; otherwise empty.
    """

    type: str
    message: str
    traceback: str | None = None
    output: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", shortened(self.message))
        if self.traceback is not None:
            object.__setattr__(self, "traceback", shortened(self.traceback, _TRACEBACK))

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type

    def log_text(self, operation: str | None) -> str:
        """Return the text for the log: the operation that failed, if any, the reason, and the traceback."""
        over = f"{operation} failed" if operation else "The model failed"
        return f"{over}: {self}" + (f"\n{self.traceback.rstrip()}" if self.traceback else "")


def shortened(text: str, limit: int = _MESSAGE) -> str:
    """Return a text without its middle if it has more characters than the limit."""
    half = limit // 2
    if len(text) <= limit:
        return text
    return f"{text[:half]}\n... {len(text) - 2 * half} characters are left out here ...\n{text[-half:]}"


class HookFailed(MistkError):
    """A hook of the model raised an exception.

    Attributes:
        operation: the operation whose hook raised it.
        failure: the exception as the worker saw it.
    """

    def __init__(self, operation: str, failure: Failure) -> None:
        super().__init__(f"The model failed in {operation}: {failure}")
        self.operation = operation
        self.failure = failure


class WorkerDied(MistkError):
    """The worker process ended unexpectedly.

    Attributes:
        failure: how the process ended, with the last lines of its output.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class ModelLoadError(MistkError):
    """The model class cannot be loaded. The subclass gives the reason.

    Attributes:
        traceback: the traceback, if the model's own code raised an exception; otherwise None.
    """

    def __init__(self, message: str, *, traceback: str | None = None) -> None:
        super().__init__(message)
        self.traceback = traceback


class BadModelReference(ModelLoadError):
    """The reference has none of the supported forms."""


class ModelModuleNotFound(ModelLoadError):
    """The module or file does not exist."""


class ModelModuleFailed(ModelLoadError):
    """The module exists but raised an exception on import."""


class ModelClassNotFound(ModelLoadError):
    """The module exists but does not have the attribute."""


class NotAModelClass(ModelLoadError):
    """The attribute exists but is not a subclass of AbstractModel that can be instantiated."""


class ModelConstructionFailed(ModelLoadError):
    """The class exists but its constructor raised an exception."""


class SettingsError(MistkError):
    """A setting has an invalid value. The message names the option."""


class StorageUnreachable(MistkError):
    """A storage outside of the container, such as S3, cannot be read or written now."""


class ContractNotFound(MistkError):
    """A file of the package, such as the API contract, is missing from the installation."""


class ClientError(MistkError):
    """A client's call to a service failed. The subclass says how."""


class ServiceUnreachable(ClientError):
    """The service did not respond, or not in time. It may or may not have received the request.

    Attributes:
        url: the requested URL, without credentials.
    """

    def __init__(self, message: str, *, url: str) -> None:
        super().__init__(message)
        self.url = url


class AnswerNotUnderstood(ClientError):
    """The response does not follow the contract. The server is probably not a model container.

    Attributes:
        url: the requested URL, without credentials.
    """

    def __init__(self, message: str, *, url: str) -> None:
        super().__init__(message)
        self.url = url


class LaunchFailed(ClientError):
    """A container did not start.

    Attributes:
        output: the last lines that it printed.
    """

    def __init__(self, message: str, *, output: Sequence[str]) -> None:
        super().__init__(message)
        self.output = tuple(output)


class ValidationFailed(ClientError):
    """What a container wrote, such as its predictions, is not valid."""


class ErrorAnswer(ClientError):
    """The service returned an error. The message is the service's.

    Attributes:
        code: the HTTP status.
        operation: the operation that was refused or failed, if the service names it.
        state: the model's state at that moment, if the service names it.
        activity: the operation that was running at that moment, if any.
        possible: the operations that would have been accepted, if the service lists them.
        field: the wrong argument or the place inside it, if the error concerns one.
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
    """The service does not accept the request. Nothing has changed."""


class RequestFailed(ErrorAnswer):
    """The service or its model failed to handle the request, or cannot answer it now (503)."""


class WaitFailed(ClientError):
    """The expected state will not be reached.

    Attributes:
        status: the last known status (:class:`mistk_service.client.ModelStatus`), or None.
        failure: the failure of the model, if that is the reason.
    """

    def __init__(self, message: str, *, status: object = None, failure: Failure | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.failure = failure


class WaitTimedOut(WaitFailed, TimeoutError):
    """The expected state was not reached in time."""


class AgentFailed(ClientError):
    """An agent did not answer its orchestrator, refused a call, or failed. The message names the agent.

    Attributes:
        agent: the name of the agent.
    """

    def __init__(self, message: str, *, agent: str) -> None:
        super().__init__(message)
        self.agent = agent


class TrackingError(MistkError):
    """The root of the errors of :mod:`mistk_service.tracking`."""
