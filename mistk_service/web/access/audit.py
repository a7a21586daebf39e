"""The audit log: every change that clients make or attempt, as one line of JSON."""

from __future__ import annotations

import logging
import sys
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mistk_service.errors import SettingsError
from mistk_service.logs import encodable, timestamp
from mistk_service.web.access.request_log import Answered, answered

logger = logging.getLogger("mistk_service.audit")
_log = logging.getLogger(__name__)


def audit_to(file: str) -> None:
    """Append the audit log to a file, which only its owner can read; ``-`` writes it to the log.

    Raises:
        SettingsError: the file cannot be written.
    """
    logger.setLevel(logging.INFO)
    if file == "-":
        return
    try:
        handler = _AuditFile(file, encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"--audit-file: {file} cannot be written ({error.strerror}); expected a file in a folder that exists, or - for "
            "the log."
        ) from error
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    logger.propagate = False


class _AuditFile(WatchedFileHandler):
    """A file that is reopened after log rotation, and that only its owner can read."""

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).touch(0o600)
        return super()._open()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line. One that cannot be written goes to the log: the change that it is about has been made."""
        try:
            super().emit(record)
        except OSError:  # the file cannot be reopened
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name of logging
        """Log an error with the line, which could not be written."""
        _log.error(
            "--audit-file: %s cannot be written (%s): %s", self.baseFilename, sys.exc_info()[1], record.getMessage()
        )


class Audit:
    """ASGI middleware: writes a line about every request that is not sent with GET.

    A line has the path, but neither the query nor the body, which may hold secrets.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and log it when its answer begins."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return

        async def recording_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                write_audit(answered(scope, message["status"], 0.0))
            await send(message)

        await self._app(scope, receive, recording_send)


def write_audit(call: Answered) -> None:
    """Write a line about an answered request that may have changed something."""
    line = {
        "time": timestamp(),
        "who": None if call.principal is None else encodable(call.principal.name),
        "role": None if call.principal is None else call.principal.role.label,
        "from": call.address,
        "method": call.method,
        "path": encodable(call.path),
        "status": call.status,
        "result": call.result,
        "request": call.request,
    }
    logger.info("%s", msgspec.json.encode(line).decode())
