"""Logging of a process of the service: to standard error, one line of text or one JSON object per record."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Literal

import msgspec

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s%(request)s"

#: The id of the request that is being answered, which is in every line that is logged in the meantime.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

#: Libraries that log their internal steps at level ``info``.
_CHATTY = ("connexion", "httpx", "transitions")


def configure_logging(level: str, log_format: str = "text", *, libraries: bool = False) -> None:
    """Log to standard error from now on.

    Args:
        level: a :data:`LogLevel`, for the loggers of the service.
        log_format: ``text`` or ``json``.
        libraries: whether the level also applies to all other loggers. Otherwise they log nothing below ``info``.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter(_TEXT))
    logging.basicConfig(handlers=[handler], level=number if libraries else max(number, logging.INFO))
    logging.getLogger("mistk_service").setLevel(number)
    if not libraries:
        for chatty in _CHATTY:
            logging.getLogger(chatty).setLevel(logging.ERROR)


class _TextFormatter(logging.Formatter):
    """Formats each record as a line of text, with the id of the request at its end."""

    def format(self, record: logging.LogRecord) -> str:
        record.request = f" [{found}]" if (found := request_id.get()) else ""
        return super().format(record)


class _JsonFormatter(logging.Formatter):
    """Formats each record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        trace = self.formatException(record.exc_info) if record.exc_info else None
        fields = getattr(record, "fields", {})
        level, message = record.levelname.lower(), record.getMessage()
        return json_line(level, record.name, message, record.created, trace, request_id.get(), fields)


def json_line(
    level: str,
    logger: str,
    message: str,
    created: float | None = None,
    traceback: str | None = None,
    request: str | None = None,
    fields: Mapping[str, object] = MappingProxyType({}),
) -> str:
    """Return a JSON log line, without the line feed. ``created`` is in seconds since the epoch; None means now.

    ``fields`` are further ones, which a record has as its attribute ``fields``.
    """
    line = {
        "time": timestamp(created),
        "level": level,
        "logger": logger,
        "message": encodable(message),
        **fields,
    }
    if request is not None:
        line["request"] = request
    if traceback is not None:
        line["traceback"] = encodable(traceback)
    return msgspec.json.encode(line).decode()


def timestamp(seconds: float | None = None) -> str:
    """Return a time in seconds since the epoch, by default now, in ISO 8601, in UTC and with milliseconds."""
    seconds = time.time() if seconds is None else seconds
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{moment}.{int(seconds % 1 * 1000):03d}Z"


def encodable(text: str) -> str:
    """Return the text with invalid Unicode, such as a lone surrogate, written as an escape."""
    return text.encode("utf-8", "backslashreplace").decode()
