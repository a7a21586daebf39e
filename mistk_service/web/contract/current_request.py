"""The current request, for handlers that need more than the arguments in the contract."""

from __future__ import annotations

from contextvars import ContextVar

from starlette.datastructures import Headers
from starlette.types import Scope

_request: ContextVar[Scope] = ContextVar("request")


def enter(scope: Scope) -> None:
    """Make a request the current one of this task."""
    _request.set(scope)


def current_scope() -> Scope:
    """Return the ASGI scope of the current request."""
    return _request.get()


def current_headers() -> Headers:
    """Return the headers of the current request."""
    return Headers(scope=current_scope())
