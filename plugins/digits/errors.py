"""What can go wrong in this model, each with a message for the person who has to act on it.

::

    MistkError
    └── DigitsError
        ├── BadHyperparameters   a name or a value given at initialize
        ├── UnreadableData       a dataset that cannot be read, or does not hold digits
        ├── NotReady             an operation that needs another one first
        ├── TrainingDiverged     the loss is no finite number any more
        ├── BadCheckpoint        a checkpoint that is missing, damaged or of something else
        ├── CannotWrite          a folder that cannot be made or written to
        ├── BadRecord            a record of a stream prediction
        └── BadSource            a source that cannot be read

Those that a caller can mend are a RequestError too: the call is refused, and the model goes on as it was.
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
    """A hyperparameter is unknown or has a value that it cannot have."""


class UnreadableData(DigitsError, RequestError):
    """A dataset cannot be read, or it holds something else than digits."""


class NotReady(DigitsError, RequestError):
    """The operation needs data or a result that is not there yet."""


class TrainingDiverged(DigitsError):
    """The loss has become infinite or undefined."""


class BadCheckpoint(DigitsError, RequestError):
    """A checkpoint is missing, damaged, or does not fit."""


class CannotWrite(DigitsError):
    """A result cannot be written where it was asked for."""


class BadSource(DigitsError, RequestError):
    """A source of images cannot be read, or is described wrongly."""


class BadRecord(DigitsError, RequestError):
    """A record of a stream prediction is no image.

    Attributes:
        identifier: the identifier of the record in the request.
    """

    def __init__(self, message: str, *, identifier: str) -> None:
        super().__init__(message)
        self.identifier = identifier
