"""The addresses of a tracking server, in all common forms."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from mistk_service.tracking.errors import InvalidParameter

_API_ENDING = re.compile(r"/(?:ajax-)?api(?:/\d+\.\d+(?:/mlflow)?)?$")
_PORTS = {"http": 80, "https": 443}


def is_http(uri: str) -> bool:
    """Return whether a URI is of a server that speaks HTTP."""
    return uri.partition(":")[0].lower() in _PORTS


def split_userinfo(uri: str) -> tuple[str, str | None, str | None]:
    """Return an address without its username and password, and these two, or None.

    Raises:
        InvalidParameter: it is not the address of an HTTP server, or has a query. The message does not repeat it, since it is
            unknown where a malformed address has its password.
    """
    parts = _split(uri)
    userinfo, at, host = parts.netloc.rpartition("@")
    bare = urlunsplit(parts._replace(scheme=parts.scheme.lower(), netloc=host))
    if not at:
        return bare, None, None
    username, _, password = userinfo.partition(":")
    return bare, unquote(username), unquote(password)


def without_userinfo(uri: str) -> str:
    """Return a URI without username, password, query and fragment, for messages."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return "(an address that cannot be read)"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a URL."""
    parts = urlsplit(url)
    return parts.scheme.lower(), (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme.lower(), 0)


def proxy_before(url: str) -> str | None:
    """Return the proxy through which the environment sends requests for a URL, without its password, or None."""
    scheme, host, port = origin(url)
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    return None if not proxy or proxy_bypass(f"{host}:{port}") else without_userinfo(proxy)


def quoted(path: str) -> str:
    """Return a path, escaped for a URL."""
    return quote(path, safe="/")


def _split(uri: str) -> SplitResult:
    try:
        parts = urlsplit(uri)
        usable = parts.scheme.lower() in _PORTS and bool(parts.hostname) and parts.port != 0
        # With a slash in a password, the rest of it would be parsed as the path.
        usable = usable and "@" not in parts.path
    except ValueError:
        usable = False
    if not usable or re.search(r"[\s\x00-\x1f\x7f]", uri):
        raise InvalidParameter(
            "The address of the tracking server cannot be read; expected http://HOST or https://HOST, optionally with a "
            "port and a path.",
            field="uri",
        )
    if parts.query or parts.fragment:
        raise InvalidParameter(
            "The address of the tracking server has a query or a fragment, which requests cannot contain; leave it out.",
            field="uri",
        )
    return parts


class Addresses:
    """The URLs of a server's API.

    Args:
        uri: the server's, with or without ``/api`` at the end, without a username and password.
        version: of the API, such as ``2.0``.
    """

    def __init__(self, uri: str, version: str) -> None:
        self._root = _API_ENDING.sub("", uri.rstrip("/"))
        self._version = version

    def api(self, endpoint: str) -> str:
        """Return the URL of an operation such as ``runs/create``."""
        return f"{self._root}/api/{self._version}/mlflow/{endpoint}"

    def ajax(self, endpoint: str) -> str:
        """Return the URL of an operation that MLflow only serves to its own pages."""
        return f"{self._root}/ajax-api/{self._version}/mlflow/{endpoint}"

    def proxied(self) -> str:
        """Return the URL of the listing of the server's own storage."""
        return f"{self._root}/api/{self._version}/mlflow-artifacts/artifacts"
