"""The headers of a request by name."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Scope

#: The key of an ASGI scope with a list of headers, and the headers in it by name.
_KEY = "mistk.headers"


def headers_of(scope: Scope) -> Mapping[bytes, bytes]:
    """Return the headers of a request by name, in lower case; of several headers of a name, the last one.

    They are read from the list once, and again if an application replaces it.
    """
    listed, by_name = scope.get(_KEY, (None, {}))
    if listed is not scope["headers"]:
        by_name = dict(scope["headers"])
        scope[_KEY] = scope["headers"], by_name
    headers: Mapping[bytes, bytes] = by_name
    return headers


def announced_length(scope: Scope) -> int | None:
    """Return the announced length of a request's body in bytes, 0 if there is none; None for a body in chunks.

    Chunks have their own end, and take precedence over an announced length (RFC 9112, 6.3).
    """
    headers = headers_of(scope)
    return None if b"transfer-encoding" in headers else int(headers.get(b"content-length", 0))
