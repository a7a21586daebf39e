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
