"""The errors of this model. Their messages are for the caller.

::

    MistkError
    └── DigitsError
        ├── BadHyperparameters   a name or a value given at initialize
        ├── UnreadableData       a dataset that cannot be read, or does not hold digits
        ├── NotReady             an operation that needs another one first
        ├── TrainingDiverged     the loss is no longer finite
        ├── BadCheckpoint        a checkpoint that is missing, damaged or of another model
        ├── CannotWrite          a folder that cannot be created or written to
        ├── BadRecord            a record of a stream prediction
        └── BadSource            a source that cannot be read

Errors that the caller can fix are also a RequestError: the call is refused, and the model does not change.
"""

from __future__ import annotations

from mistk_service import MistkError, RequestError

__all__ = [
    "BadCheckpoint",
    "BadHyperparameters",
    "BadRecord",
    "BadSource",
    "CannotWrite",
    "DigitsError",
    "NotReady",
    "TrainingDiverged",
    "UnreadableData",
]


class DigitsError(MistkError):
    """The root of this model's errors."""


class BadHyperparameters(DigitsError, RequestError):
    """A hyperparameter is unknown or has an invalid value."""


class UnreadableData(DigitsError, RequestError):
    """A dataset cannot be read, or does not contain digits."""


class NotReady(DigitsError, RequestError):
    """The operation needs data or a result that does not exist yet."""


class TrainingDiverged(DigitsError):
    """The loss has become infinite or undefined."""


class BadCheckpoint(DigitsError, RequestError):
    """A checkpoint is missing, damaged, or does not fit."""


class CannotWrite(DigitsError):
    """A result cannot be written to the requested place."""


class BadSource(DigitsError, RequestError):
    """A source of images cannot be read, or its description is invalid."""


class BadRecord(DigitsError, RequestError):
    """A record of a stream prediction is not an image.

    Attributes:
        identifier: the identifier of the record in the request.
    """

    def __init__(self, message: str, *, identifier: str) -> None:
        super().__init__(message)
        self.identifier = identifier
