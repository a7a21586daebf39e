"""Confines the paths in requests to the roots that the operator has named."""

from __future__ import annotations

import ipaddress
import os
import posixpath
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mistk_service.errors import InvalidRequest
from mistk_service.kinds.call import STORE_URIS, Call
from mistk_service.workers.host.files import on_thread

#: File systems that show the machine, not data.
_SYSTEM = (Path("/proc"), Path("/sys"), Path("/dev"))

#: The default ports of schemes.
_PORTS = {"http": 80, "https": 443, "ftp": 21}


@dataclass(frozen=True)
class Roots:
    """Folders and URIs below which paths of requests must lie; all empty means that none is allowed.

    Attributes:
        data: for data that is read.
        models: for models that are read.
        output: for what is written; it may be read again too.
    """

    data: Sequence[str] = ()
    models: Sequence[str] = ()
    output: Sequence[str] = ()

    async def check(self, call: Call) -> None:
        """Return if all paths of a call lie below the roots.

        Raises:
            InvalidRequest: one does not, or is a special file.
        """
        if call.reads or call.writes:
            await on_thread(self._check, call)

    def _check(self, call: Call) -> None:
        for field, text in call.writes.items():
            _require(text, field, self.output, "--output-root")
        for field, text in call.reads.items():
            if text.startswith(STORE_URIS):
                continue
            of_model = "model" in field.lower()
            roots = self.models if of_model else self.data
            _require(text, field, (*roots, *self.output), "--model-root" if of_model else "--data-root")


def _require(text: str, field: str, roots: Sequence[str], option: str) -> None:
    is_uri = "://" in text and not text.startswith("file://")
    allowed = any(_uri_below(text, root) if is_uri else _path_below(text, root) for root in roots)
    if not allowed:
        listed = f"; allowed are those below {', '.join(dict.fromkeys(roots))}" if roots else ""
        raise InvalidRequest(
            f"{field}: {text[:200]!r} is not below a folder or URI that requests may name{listed}. The operator of the "
            f"service allows others with {option}.",
            field=field,
        )
    if is_uri:
        _require_public_host(text, field)
    else:
        _require_plain(_resolved(text), field)


def _resolved(text: str) -> Path:
    path = unquote(urlsplit(text).path) if text.startswith("file://") else text
    return Path(os.path.realpath(path))


def _path_below(text: str, root: str) -> bool:
    if "://" in root or "\0" in text:
        return False
    return _resolved(text).is_relative_to(os.path.realpath(root))


def _uri_below(text: str, root: str) -> bool:
    if "://" not in root:
        return False
    try:
        given, allowed = urlsplit(text), urlsplit(root)
        same = _origin(given.scheme, given.hostname, given.port) == _origin(
            allowed.scheme, allowed.hostname, allowed.port
        )
    except ValueError:
        return False
    if not same or "@" in given.netloc or "\\" in text:
        return False
    path, base = (posixpath.normpath("/" + unquote(each.path).lstrip("/")) for each in (given, allowed))
    return path == base or path.startswith(base.rstrip("/") + "/")


def _origin(scheme: str, host: str | None, port: int | None) -> tuple[str, str, int | None]:
    return scheme.lower(), host or "", port or _PORTS.get(scheme.lower())


def _require_public_host(text: str, field: str) -> None:
    """Refuse a web address whose name resolves to this machine or to the metadata service of a cloud."""
    parts = urlsplit(text)
    if parts.scheme.lower() not in _PORTS or parts.hostname is None:
        return
    try:
        found = socket.getaddrinfo(parts.hostname, None, type=socket.SOCK_STREAM)
    except OSError:
        return  # the model will report the unknown host
    for *_, address in found:
        number = ipaddress.ip_address(str(address[0]).partition("%")[0])
        if number.is_loopback or number.is_link_local or number.is_unspecified:
            raise InvalidRequest(
                f"{field}: {parts.hostname!r} resolves to {number}, which requests may not name; expected another host.",
                field=field,
            )


def _require_plain(path: Path, field: str) -> None:
    """Refuse devices, named pipes and sockets, and the file systems of the machine itself."""
    try:
        mode = path.stat().st_mode
    except OSError:
        mode = stat.S_IFREG  # it does not exist yet, or is refused later
    special = not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    if special or any(path.is_relative_to(each) for each in _SYSTEM):
        raise InvalidRequest(
            f"{field}: {str(path)[:200]!r} is a special file; expected a file or a folder.", field=field
        )
