"""Exceptions of the model's code as values that can be sent to the service."""

from __future__ import annotations

import traceback

from mistk_service.errors import Failure, shortened
from mistk_service.logs import encodable


def failure_from(error: BaseException) -> Failure:
    """Return any exception in a form that can cross a process boundary."""
    trace = "".join(traceback.format_exception(error))
    return Failure(type(error).__name__, message_of(error), encodable(trace))


def message_of(error: BaseException) -> str:
    """Return the text of an exception, without the middle of a very long one.

    Its ``__str__`` may be the author's code and may raise an exception itself.
    """
    try:
        return encodable(shortened(str(error)))
    except Exception as another:  # noqa: BLE001 - only the first exception matters
        return f"(no text: __str__ raised {type(another).__name__})"
