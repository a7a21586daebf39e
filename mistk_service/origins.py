"""What a page of another site may do through the browser of somebody who can reach the service: nothing.

Without authentication, whoever reaches the port may do everything; a browser reaches it on behalf of every page that it shows.
Two things betray such a page. A browser says where a request comes from (``Sec-Fetch-Site``, ``Origin``), which concerns what
changes anything: an answer is not shown to a foreign page anyway. And a page that has had its own name resolved to loopback
(DNS rebinding) is not foreign to its browser, but still names itself in ``Host``. Knows nothing of how an answer is sent.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["Origins"]

#: What changes nothing.
_READING = frozenset({"GET", "HEAD"})

#: The names of loopback itself, as a Host header has them.
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})

#: How much of a header is repeated in a message.
_SHOWN = 80


class Origins:
    """Tells what a browser sends for a page that is not the service's own.

    Clients that send neither ``Origin`` nor ``Sec-Fetch-Site``, which is all but browsers, are only held to the name in
    ``Host``, and that only where the service listens on loopback: elsewhere it cannot know its names.

    Args:
        host: the address that the service listens on.
    """

    def __init__(self, host: str) -> None:
        self._hosts = _LOOPBACK | {_bracketed(host)} if _is_loopback(host) else None

    def objection(self, scope: Mapping[str, Any]) -> str | None:
        """Return why a request is refused, by its ASGI scope, or None."""
        if scope["type"] != "http":
            return None
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "").lower()
        if host and self._hosts is not None and re.sub(r":\d*$", "", host) not in self._hosts:
            return (
                f"The request is for the host {_short(host)}, and this service listens on loopback, where its name is "
                f"{' or '.join(sorted(self._hosts))}. Ask for one of these, have a proxy pass one on, "
                "or start the service with another --host."
            )
        if scope["method"] in _READING or _is_own(headers, host):
            return None
        return (
            f"The request comes from a page of another site ({_short(headers.get(b'origin', 'unknown'))}), which may not "
            f"control this service ({_short(host)}). Send it from the service's own pages, or from a program."
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


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host.lower()


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
