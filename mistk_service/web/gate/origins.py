"""Protection against requests of other sites' pages in a user's browser (CSRF and DNS rebinding).

A browser sends requests for every page that it shows, with the user's log-in. Two headers reveal such a page:

* ``Sec-Fetch-Site`` or ``Origin`` has the origin of a request. It is checked for requests that can change something;
  a browser does not show the answers of other sites to a page anyway.
* ``Host`` has the page's own name if that was made to resolve to loopback (DNS rebinding).
"""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence

from mistk_service.web.listening import is_loopback

#: Methods that change nothing.
_SAFE_METHODS = frozenset({"GET", "HEAD"})

#: The names of loopback in a Host header.
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})

#: The suffixes of names that cannot be registered, such as those of services in a cluster.
_LOCAL_ENDS = (".localhost", ".local", ".internal", ".svc", ".home.arpa")

#: The number of Host headers for which the decision is cached.
_HOSTS = 64


class Origins:
    """Decides which requests come from pages of other sites.

    Only browsers send ``Origin`` or ``Sec-Fetch-Site``. For other clients, only ``Host`` is checked. An attack needs a name
    that can be registered, so other names are accepted: on loopback the names of loopback; elsewhere also any IP address,
    the name of the machine, and names that only a local network resolves, which have no dot or end with ``.local``,
    ``.internal`` and the like.

    Args:
        host: the address that the server listens on.
        allowed: further names; ``*.example.org`` means every name below ``example.org``, ``*`` every name.
    """

    def __init__(self, host: str, allowed: Sequence[str] = ()) -> None:
        self._host = host
        self._everywhere = not is_loopback(host)
        own = {f"[{host}]" if ":" in host else host.lower()} | (
            {socket.gethostname().lower()} if self._everywhere else set()
        )
        self._names = _LOOPBACK | own | {name.lower() for name in allowed if not name.startswith("*")}
        self._ends = tuple(name[1:].lower() for name in allowed if name.startswith("*"))
        # Clients repeat the same few names with every request.
        self._is_own_host = functools.lru_cache(_HOSTS)(self._has_name)

    def objection(self, method: str, headers: Mapping[bytes, bytes]) -> str | None:
        """Return why a request is refused, or None."""
        host = headers.get(b"host", b"").lower().decode("latin-1")
        if host and not self._is_own_host(host):
            return (
                f"The request is for the host {host[:80]!r}, which is not a name of this service; it listens on {self._host}."
                " To reach it under this name, start it with --allowed-host or MISTK_ALLOWED_HOST. Otherwise use "
                f"{'its address' if self._everywhere else 'localhost'}, or let the proxy send that as the host."
            )
        if method in _SAFE_METHODS or _is_own(headers, host):
            return None
        origin = headers.get(b"origin", b"unknown").decode("latin-1")
        return (
            f"The request comes from a page of another site ({origin[:80]!r}), which may not "
            f"control this service ({host[:80]!r}). Send it from the service's own pages, or from a program."
        )

    def _has_name(self, host: str) -> bool:
        name = re.sub(r":\d*$", "", host)
        if name in self._names or (self._ends and name.endswith(self._ends)):
            return True
        return self._everywhere and ("." not in name or name.endswith(_LOCAL_ENDS) or _is_address(name))


def _is_own(headers: Mapping[bytes, bytes], host: str) -> bool:
    """Return whether a request comes from the service's own page, from the user's address bar, or not from a browser."""
    site = headers.get(b"sec-fetch-site")
    # Set by the browser; no page can forge it. It also holds behind a proxy that passes on another Host.
    if site in (b"same-origin", b"none"):
        return True
    if site == b"cross-site":
        return False
    # "same-site" includes other ports of the same host, and browsers omit the header for plain http:// addresses.
    origin = headers.get(b"origin")
    return origin is None or origin.decode("latin-1").lower().partition("://")[2] == host


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
