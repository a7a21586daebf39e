"""The current request, for handlers that need more than the arguments in the contract."""

from __future__ import annotations

from contextvars import ContextVar

from starlette.datastructures import Headers
from starlette.types import Receive, Scope

_request: ContextVar[tuple[Scope, Receive]] = ContextVar("request")


def enter(scope: Scope, receive: Receive) -> None:
    """Make a request the current one of this task."""
    _request.set((scope, receive))


def current_scope() -> Scope:
    """Return the ASGI scope of the current request."""
    return _request.get()[0]


def current_receive() -> Receive:
    """Return the ``receive`` of the current request, whose body has been read."""
    return _request.get()[1]


def current_headers() -> Headers:
    """Return the headers of the current request."""
    return Headers(scope=current_scope())
