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
"""

from __future__ import annotations

from mistk_service import MistkError

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


class BadSetting(TextGeneratorError):
    """A hyperparameter or a property is unknown or has a value that it cannot have."""


class UnreadableText(TextGeneratorError):
    """A dataset cannot be read, or it is no text of the kind expected."""


class NotReady(TextGeneratorError):
    """The operation needs data or a result that is not there yet."""


class BadCheckpoint(TextGeneratorError):
    """A checkpoint is missing, damaged, or does not fit."""


class CannotWrite(TextGeneratorError):
    """A result cannot be written where it was asked for."""


class BadRecord(TextGeneratorError):
    """A record of a stream prediction is no prompt.

    Attributes:
        identifier: the identifier of the record in the request.
    """

    def __init__(self, message: str, *, identifier: str) -> None:
        super().__init__(message)
        self.identifier = identifier
