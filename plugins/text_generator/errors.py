"""The errors of this model. Their messages are for the caller.

::

    MistkError
    └── TextGeneratorError
        ├── BadSetting       a hyperparameter or property that is unknown or out of bounds
        ├── UnreadableText   a dataset that cannot be read, or is not text
        ├── NotReady         an operation that needs another one first
        ├── BadCheckpoint    a checkpoint that is missing, damaged or of another model
        ├── CannotWrite      a folder that cannot be created or written to
        └── BadRecord        a record of a stream prediction

Errors that the caller can fix are also a RequestError: the call is refused, and the model does not change.
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
    """A hyperparameter or a property is unknown or has an invalid value."""


class UnreadableText(TextGeneratorError, RequestError):
    """A dataset cannot be read, or is not a text of the expected kind."""


class NotReady(TextGeneratorError, RequestError):
    """The operation needs data or a result that does not exist yet."""


class BadCheckpoint(TextGeneratorError, RequestError):
    """A checkpoint is missing, damaged, or does not fit."""


class CannotWrite(TextGeneratorError):
    """A result cannot be written to the requested place."""


class BadRecord(TextGeneratorError, RequestError):
    """A record of a stream prediction is not a prompt.

    Attributes:
        identifier: the identifier of the record in the request.
    """

    def __init__(self, message: str, *, identifier: str) -> None:
        super().__init__(message)
        self.identifier = identifier
