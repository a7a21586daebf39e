"""The errors of tracking, each with the name that MLflow's protocol has for it.

None of them knows HTTP: the server maps each ``error_code`` to a status. Every error that a
:class:`~mistk_service.tracking.store.Store` raises on purpose is one of these.

::

    TrackingError                       (mistk_service.errors)
    └── StoreError                      INTERNAL_ERROR
        ├── InvalidParameter        INVALID_PARAMETER_VALUE   an argument is wrong; nothing was changed
        │   ├── FilterError         INVALID_PARAMETER_VALUE   a search expression is broken, and where
        │   └── InvalidPageToken    INVALID_PARAMETER_VALUE   the token was not given out by this search
        ├── ResourceNotFound        RESOURCE_DOES_NOT_EXIST   there is no such run, experiment, tag ...
        ├── ResourceExists          RESOURCE_ALREADY_EXISTS   the name is taken
        ├── InvalidState            INVALID_STATE             the resource's lifecycle stage does not allow it
        ├── StoreUnavailable        TEMPORARILY_UNAVAILABLE   disk full, database locked, no connection; try again
        │   ├── AnswerLost          TEMPORARILY_UNAVAILABLE   a remote may have done it, and its answer did not arrive
        │   └── StoreLost           TEMPORARILY_UNAVAILABLE   the database's file was deleted or replaced while it was open
        ├── SchemaMismatch          INVALID_STATE             the database was written by another version
        ├── UnsupportedStore        INVALID_PARAMETER_VALUE   the kind of URI is unknown or not installed
        ├── NotSupported            NOT_IMPLEMENTED           a feature that this server does not have
        ├── EndpointNotFound        ENDPOINT_NOT_FOUND        there is no such path
        ├── Unauthenticated         UNAUTHENTICATED           the caller has no valid credentials
        └── PermissionDenied        PERMISSION_DENIED         the caller lacks the permission

    SystemMetricsUnavailable, also a TrackingError, is not a store's: the library that measures the machine is missing.
"""

from __future__ import annotations

from typing import ClassVar

from mistk_service.errors import TrackingError

__all__ = [
    "AnswerLost",
    "EndpointNotFound",
    "FilterError",
    "InvalidPageToken",
    "InvalidParameter",
    "InvalidState",
    "NotSupported",
    "PermissionDenied",
    "ResourceExists",
    "ResourceNotFound",
    "SchemaMismatch",
    "StoreError",
    "StoreLost",
    "StoreUnavailable",
    "SystemMetricsUnavailable",
    "Unauthenticated",
    "UnsupportedStore",
]


class StoreError(TrackingError):
    """A call to a store failed; a subclass says why.

    Attributes:
        error_code: the name that MLflow's protocol has for this kind of error.
    """

    error_code: ClassVar[str] = "INTERNAL_ERROR"


class InvalidParameter(StoreError):
    """An argument of the call is wrong; nothing was changed.

    Attributes:
        field: the argument or the place inside it, such as ``metrics[3].name``; None if the whole is wrong.
    """

    error_code = "INVALID_PARAMETER_VALUE"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class FilterError(InvalidParameter):
    """A filter or an order_by clause cannot be understood.

    Attributes:
        position: the offset of the problem in the expression, in characters from 0.
    """

    def __init__(self, message: str, *, position: int, field: str) -> None:
        super().__init__(message, field=field)
        self.position = position


class InvalidPageToken(InvalidParameter):
    """A page token is damaged, or belongs to a search with another order."""


class ResourceNotFound(StoreError):
    """The run, experiment, tag or other resource that the message names does not exist."""

    error_code = "RESOURCE_DOES_NOT_EXIST"


class ResourceExists(StoreError):
    """The name is taken."""

    error_code = "RESOURCE_ALREADY_EXISTS"


class InvalidState(StoreError):
    """The lifecycle stage of the resource does not allow the call; nothing was changed."""

    error_code = "INVALID_STATE"


class StoreUnavailable(StoreError):
    """The database cannot do it now: the disk is full, the file is locked, the server cannot be reached.

    The call was not applied, unless the connection to a database server broke during the commit. Nothing that was
    acknowledged before is lost, and the same call can be sent again.

    Attributes:
        retry_after: seconds after which to retry, or None if the cause has to be fixed first.
    """

    error_code = "TEMPORARILY_UNAVAILABLE"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AnswerLost(StoreUnavailable):
    """A request may have reached a remote, and there was no usable response, so it is unknown whether it was applied.

    Causes are a timeout, a truncated response, or an error of a gateway. Before you repeat a request that must not be applied
    twice, check whether it was applied.
    """


class StoreLost(StoreUnavailable):
    """The file of the database was deleted or replaced while it was open, so new data would be lost."""


class SchemaMismatch(StoreError):
    """The database was written by another version of the package or by another program; it was not changed."""

    error_code = "INVALID_STATE"


class UnsupportedStore(StoreError):
    """The URI of a store is of no known kind, or the library for that kind is not installed."""

    error_code = "INVALID_PARAMETER_VALUE"


class NotSupported(StoreError):
    """MLflow has this feature and this server does not."""

    error_code = "NOT_IMPLEMENTED"


class EndpointNotFound(StoreError):
    """There is no operation at that path."""

    error_code = "ENDPOINT_NOT_FOUND"


class Unauthenticated(StoreError):
    """The caller has no credentials or invalid ones: a token has expired, a password is wrong."""

    error_code = "UNAUTHENTICATED"


class PermissionDenied(StoreError):
    """The caller may not do that."""

    error_code = "PERMISSION_DENIED"


class SystemMetricsUnavailable(TrackingError):
    """The library that measures processes is not installed."""
