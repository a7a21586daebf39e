"""What a page of another site may do through the browser of somebody who can reach the service: nothing.

Without authentication, whoever reaches the port may do everything; a browser reaches it on behalf of every page that it shows.
Two things betray such a page. A browser says where a request comes from (``Sec-Fetch-Site``, ``Origin``), which concerns what
changes anything: an answer is not shown to a foreign page anyway. And a page that has had its own name resolved to loopback
(DNS rebinding) is not foreign to its browser, but still names itself in ``Host``. Knows nothing of how an answer is sent.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Origins", "exposure"]

#: What changes nothing.
_READING = frozenset({"GET", "HEAD"})

#: The names of loopback itself, as a Host header has them.
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})

#: The ends of names that nobody can register, among them those of services in a cluster.
_LOCAL_ENDS = (".localhost", ".local", ".internal", ".svc", ".home.arpa")

#: How much of a header is repeated in a message.
_SHOWN = 80


class Origins:
    """Tells what a browser sends for a page that is not the service's own.

    Clients that send neither ``Origin`` nor ``Sec-Fetch-Site``, which is all but browsers, are only held to the name in
    ``Host``. A page can be reached under a foreign name only if somebody can register that name. On loopback the service
    has the names of loopback. Elsewhere it has, besides, any IP address, its host's name, and the names that only a local
    network resolves: those without a dot, and those below ``.local``, ``.internal`` and the like.

    Args:
        host: the address that the service listens on.
        allowed: further names; ``*.example.org`` means every name below ``example.org``, ``*`` every name.
    """

    def __init__(self, host: str, allowed: Sequence[str] = ()) -> None:
        self._host = host
        self._everywhere = not _is_loopback(host)
        own = {_bracketed(host)} | ({socket.gethostname().lower()} if self._everywhere else set())
        self._names = _LOOPBACK | own | {name.lower() for name in allowed if not name.startswith("*")}
        self._ends = tuple(name[1:].lower() for name in allowed if name.startswith("*"))

    def objection(self, scope: Mapping[str, Any]) -> str | None:
        """Return why a request is refused, by its ASGI scope, or None."""
        if scope["type"] != "http":
            return None
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "").lower()
        if host and not self._has_name(re.sub(r":\d*$", "", host)):
            return (
                f"The request is for the host {_short(host)}, which is not a name of this service; it listens on {self._host}."
                " If it is to be reached under this name, start it with --allowed-host or MISTK_ALLOWED_HOST; otherwise ask "
                f"for {'its address' if self._everywhere else 'localhost'}, or have a proxy pass that on."
            )
        if scope["method"] in _READING or _is_own(headers, host):
            return None
        return (
            f"The request comes from a page of another site ({_short(headers.get(b'origin', 'unknown'))}), which may not "
            f"control this service ({_short(host)}). Send it from the service's own pages, or from a program."
        )

    def _has_name(self, name: str) -> bool:
        if name in self._names or (self._ends and name.endswith(self._ends)):
            return True
        return self._everywhere and ("." not in name or name.endswith(_LOCAL_ENDS) or _is_address(name))


def exposure(host: str) -> str | None:
    """Return a warning about listening on an address that others can reach, or None for loopback."""
    if _is_loopback(host):
        return None
    return (
        f"Listening on {host}, beyond this machine: there is no authentication, and everybody who can reach the port controls "
        "the service. Let only those reach it who may, or listen on 127.0.0.1."
    )


def _is_own(headers: dict[bytes, str], host: str) -> bool:
    """Tell whether a request comes from a page of the service, from the person at the browser, or from no browser."""
    site = headers.get(b"sec-fetch-site")
    # The browser's word, which no page can forge. It also holds behind a proxy that passes on another Host.
    if site in ("same-origin", "none"):
        return True
    if site == "cross-site":
        return False
    # "same-site" is another port of the same host too; and browsers say nothing of it to a plain http:// address.
    origin = headers.get(b"origin")
    return origin is None or origin.lower().partition("://")[2] == host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host.lower()


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
