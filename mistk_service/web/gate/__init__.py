"""The checks that every request passes before it reaches an application."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import ASGIApp

from mistk_service.web.access import AccessLog, Audit, Authentication, Authenticator
from mistk_service.web.error_responses import ErrorAnswer
from mistk_service.web.gate.body_budget import BodyBudget
from mistk_service.web.gate.body_limit import BodyLimit
from mistk_service.web.gate.request_filter import RequestFilter

__all__ = ["BodyBudget", "BodyLimit", "RequestFilter", "gate"]

#: The limit for all unfinished bodies: at least this number of bytes, or this multiple of the largest allowed size.
_MIN_BUDGET, _BODIES = 256 * 1024 * 1024, 4


def gate(
    app: ASGIApp,
    *,
    host: str,
    allowed_hosts: Sequence[str],
    max_body: int,
    authenticator: Authenticator | None = None,
    answer: ErrorAnswer,
    audited: bool = False,
    access_log: bool = False,
) -> ASGIApp:
    """Return an application behind the gate.

    Args:
        app: the application.
        host: the address that the server listens on.
        allowed_hosts: further names of the server; see :class:`~mistk_service.web.gate.origins.Origins`.
        max_body: bytes that one body may have; all unfinished bodies together may have four times as many, or 256 MiB.
        authenticator: identifies the sender of a request; None if no log-in is required.
        answer: converts an error to a response.
        audited: whether changes are written to the audit log.
        access_log: whether each request is written to the log.
    """
    inner: ASGIApp = BodyBudget(app, max(_MIN_BUDGET, _BODIES * max_body), answer)
    if authenticator is not None:
        inner = Authentication(inner, authenticator, answer)
    if audited:
        inner = Audit(inner)
    filtered = RequestFilter(inner, host, allowed_hosts, answer)
    return AccessLog(filtered) if access_log else filtered
