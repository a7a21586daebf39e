"""The locations outside the server's own folder that may contain artifacts of runs."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from mistk_service.tracking.errors import InvalidParameter

#: The schemes that MLflow's clients know how to write to themselves, local paths among them.
_CLIENTS = frozenset(
    ["", "file", "mlflow-artifacts", "s3", "gs", "wasb", "wasbs", "abfs", "abfss", "dbfs", "hdfs", "viewfs", "sftp"]
)


@dataclass(frozen=True)
class AllowedLocations:
    """The locations below which artifacts may be written, in addition to the server's own.

    Clients name the location of an experiment. A service that wrote to any location would write to any folder of its
    machine, call any host that it can reach, and sign with its own credentials.

    Attributes:
        roots: URIs such as ``s3://bucket/prefix`` or ``file:///folder``.
    """

    roots: Sequence[str] = ()

    def require_known(self, uri: str) -> None:
        """Refuse a location that no client of MLflow can write to itself, unless it is below one of the roots.

        Raises:
            InvalidParameter: its scheme is not known.
        """
        scheme = uri.partition(":")[0].lower() if ":" in uri else ""
        if scheme not in _CLIENTS and not self._permits(uri):
            known = ", ".join(sorted(filter(None, _CLIENTS)))
            raise InvalidParameter(
                f"Invalid value {_without_login(uri)!r} for parameter 'artifact_location' supplied: expected a URI whose "
                f"scheme is one of {known}, or one below a location that --artifact-location of the service allows.",
                field="artifact_location",
            )

    def require(self, uri: str) -> None:
        """Refuse to write to a location that is below none of the roots.

        Raises:
            InvalidParameter: it is below none of them.
        """
        if self._permits(uri):
            return
        expected = "none is allowed" if not self.roots else f"allowed are locations below {', '.join(self.roots)}"
        raise InvalidParameter(
            f"Artifacts may not be kept at {_without_login(uri)!r}: {expected}, apart from the server's own folder. "
            "Allow others with --artifact-location.",
            field="artifact_location",
        )

    def _permits(self, uri: str) -> bool:
        kind, path = _normal(uri)
        for root in self.roots:
            allowed, folder = _normal(root)
            if kind == allowed and (path == folder or path.startswith(folder.rstrip("/") + "/")):
                return True
        return False


def _normal(uri: str) -> tuple[tuple[str, str], str]:
    """Return scheme and host, and the normalized path; local symbolic links are resolved."""
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
