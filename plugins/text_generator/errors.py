"""What can go wrong in this model, each with a message for the person who has to act on it.

::

    MistkError
    └── TextGeneratorError
        ├── BadSetting       a hyperparameter or property that is unknown or out of bounds
        ├── UnreadableText   a dataset that cannot be read, or is no text
        ├── NotReady         an operation that needs another one first
        ├── BadCheckpoint    a checkpoint that is missing, damaged or of something else
        ├── CannotWrite      a folder that cannot be made or written to
        └── BadRecord        a record of a stream prediction

Those that a caller can mend are a RequestError too: the call is refused, and the model goes on as it was.
"""

from __future__ import annotations

from mistk_service import MistkError, RequestError

__all__ = [
    "BadCheckpoint",
    "BadRecord",
    "BadSetting",
    "CannotWrite",
    "NotReady",
    "TextGeneratorError",
    "UnreadableText",
]


class TextGeneratorError(MistkError):
    """The root of this model's errors."""


class BadSetting(TextGeneratorError, RequestError):
    """A hyperparameter or a property is unknown or has a value that it cannot have."""


class UnreadableText(TextGeneratorError, RequestError):
    """A dataset cannot be read, or it is no text of the kind expected."""


class NotReady(TextGeneratorError, RequestError):
    """The operation needs data or a result that is not there yet."""


class BadCheckpoint(TextGeneratorError, RequestError):
    """A checkpoint is missing, damaged, or does not fit."""


class CannotWrite(TextGeneratorError):
    """A result cannot be written where it was asked for."""


class BadRecord(TextGeneratorError, RequestError):
    """A record of a stream prediction is no prompt.

    Attributes:
        identifier: the identifier of the record in the request.
    """

    def __init__(self, message: str, *, identifier: str) -> None:
        super().__init__(message)
        self.identifier = identifier
