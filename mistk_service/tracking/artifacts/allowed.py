"""Where the artifacts of runs may be kept outside the server's own folder."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from mistk_service.tracking.errors import InvalidParameter

__all__ = ["AllowedLocations"]


@dataclass(frozen=True)
class AllowedLocations:
    """The locations below which artifacts may be written, besides the server's own.

    Clients name the location of an experiment. A service that wrote wherever they say would write to any folder of its
    machine, call any host that it can reach, and sign with its own credentials.

    Attributes:
        roots: URIs such as ``s3://bucket/prefix`` or ``file:///folder``.
    """

    roots: Sequence[str] = ()

    def require(self, uri: str) -> None:
        """Refuse a location that is below none of the roots.

        Raises:
            InvalidParameter: it is below none of them.
        """
        kind, path = _normal(uri)
        for root in self.roots:
            allowed, folder = _normal(root)
            if kind == allowed and (path == folder or path.startswith(folder.rstrip("/") + "/")):
                return
        expected = "none is allowed" if not self.roots else f"allowed is what lies below {', '.join(self.roots)}"
        raise InvalidParameter(
            f"Artifacts may not be kept at {_without_login(uri)!r}: {expected}, besides the server's own folder. "
            "--artifact-locations of the service names locations.",
            field="artifact_location",
        )


def _normal(uri: str) -> tuple[tuple[str, str], str]:
    """Return scheme and host, and the path without detours; links of this machine are followed."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return ("", uri), ""
    scheme, path = parts.scheme.lower() or "file", unquote(parts.path)
    if scheme == "file":
        return (scheme, parts.netloc.replace("localhost", "")), os.path.realpath(path)
    return (scheme, parts.netloc), posixpath.normpath("/" + path.lstrip("/"))


def _without_login(uri: str) -> str:
    scheme, mark, rest = uri.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"[:200]
