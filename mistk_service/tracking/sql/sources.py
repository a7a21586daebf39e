"""Where the files of a new model version are, and whether whoever registers it may point there.

A source that lies in this server's own keeping (a local path, the artifact proxy, a run, a logged model) must belong
to the run or the logged model that is named with it: a version could otherwise be used to read any file of the server.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from sqlalchemy import Connection, Row, select

from mistk_service.tracking.entities import LifecycleStage
from mistk_service.tracking.errors import InvalidParameter, ResourceNotFound
from mistk_service.tracking.sql.tables import logged_models, runs

__all__ = ["Located", "Source", "locate"]

_PROXY = re.compile(r"/(?:api|ajax-api)/2\.0/mlflow-artifacts/artifacts/")
_MODEL_ID = re.compile(r"m-[0-9a-f]{32}")
#: What MLflow's client gives as the source of a prompt; it leads nowhere.
_PLACEHOLDER = re.compile(r"dummy-source|prompt-template")


@dataclass(frozen=True)
class Source:
    """What a version is made from.

    Attributes:
        uri: where the files are said to be.
        run_id: the run that is said to have made them, or "".
        model_id: the logged model that they are said to be, or None.
        prompt: whether the version is a prompt, which has its text in a tag, and no files.
    """

    uri: str
    run_id: str
    model_id: str | None
    prompt: bool = False


@dataclass(frozen=True)
class Located:
    """What was found out about a source.

    Attributes:
        location: where the files really are.
        run_id: the run that made them, or "".
        model_id: the logged model that they are, or None.
    """

    location: str
    run_id: str
    model_id: str | None


class VersionLookup(Protocol):
    """Finds the versions that a source may speak of."""

    def version_row(self, connection: Connection, name: str, version: str) -> Row[Any]:
        """Return the row of a version."""

    def version_of_alias(self, connection: Connection, name: str, alias: str) -> int | None:
        """Return the number that an alias points to."""


def locate(connection: Connection, source: Source, lookup: VersionLookup) -> Located:
    """Return where the files of a source are.

    Raises:
        InvalidParameter: the source is not acceptable.
        ResourceNotFound: it speaks of a model, version or logged model that does not exist.
    """
    if not source.uri:
        raise InvalidParameter("Missing value for required parameter 'source'.", field="source")
    if source.prompt and _PLACEHOLDER.fullmatch(source.uri):
        return Located(source.uri, source.run_id, source.model_id)
    parts = urlsplit(source.uri)
    if parts.scheme == "models":
        return _from_model(connection, source, parts.path.strip("/"), lookup)
    # A single letter is the drive of a Windows path.
    local = parts.scheme in ("", "file") or len(parts.scheme) == 1
    proxied = parts.scheme == "mlflow-artifacts" or bool(_PROXY.search(parts.path))
    _refuse_detours(source.uri)
    if parts.scheme == "runs":
        if not source.run_id or parts.path.strip("/").split("/")[0] != source.run_id:
            raise _bad(source, "a runs:/ source needs the run_id of that same run")
    elif local or proxied:
        _require_ownership(connection, source)
    return Located(source.uri, source.run_id, source.model_id)


def _from_model(connection: Connection, source: Source, path: str, lookup: VersionLookup) -> Located:
    if _MODEL_ID.fullmatch(path):
        row = connection.execute(
            select(logged_models).where(
                logged_models.c.model_id == path, logged_models.c.lifecycle_stage == LifecycleStage.ACTIVE.value
            )
        ).first()
        if row is None:
            raise ResourceNotFound(f"Logged model with ID '{path}' not found.", kind="logged model", key=path)
        return Located(row.artifact_uri, source.run_id or row.source_run_id or "", source.model_id or path)
    name, separator, version = path.partition("/")
    if not separator:
        name, separator, alias = path.partition("@")
        version = str(lookup.version_of_alias(connection, name, alias) or "")
    if not separator or not version:
        raise _bad(source, "expected models:/NAME/VERSION, models:/NAME@ALIAS or models:/MODEL_ID")
    row = lookup.version_row(connection, name, version)
    return Located(row.storage_location, source.run_id or row.run_id, source.model_id or row.model_id)


def _require_ownership(connection: Connection, source: Source) -> None:
    roots: list[str] = []
    if source.run_id:
        roots += connection.execute(select(runs.c.artifact_uri).where(runs.c.run_id == source.run_id)).scalars()
        made = select(logged_models.c.artifact_uri).where(logged_models.c.source_run_id == source.run_id)
        roots += connection.execute(made).scalars()
    if source.model_id:
        model = select(logged_models.c.artifact_uri).where(logged_models.c.model_id == source.model_id)
        roots += connection.execute(model).scalars()
    place = _place(source.uri)
    if not any(place == _place(root) or place.startswith(_place(root) + "/") for root in roots):
        raise _bad(
            source,
            "it is in this server's keeping, so it must lie in the folder of the run_id or model_id that is given",
        )


def _place(uri: str) -> str:
    """Return what two URIs of one place have in common: the kind of storage and the normal form of the path."""
    parts = urlsplit(uri)
    path = unquote(parts.path)
    proxy = _PROXY.search(path)
    if proxy is not None:
        return "proxy:" + posixpath.normpath("/" + path[proxy.end() :])
    kind = "proxy:" if parts.scheme == "mlflow-artifacts" else "local:" if parts.scheme in ("", "file") else uri[:1]
    return kind + posixpath.normpath("/" + path.lstrip("/"))


def _refuse_detours(uri: str) -> None:
    decoded = uri
    # Decoded until nothing changes, as whoever opens it might do.
    for _ in range(5):
        if ".." in decoded.replace("\\", "/").split("/"):
            raise InvalidParameter(
                f"Invalid model version source: '{uri[:500]}'. It must not contain the part '..'.", field="source"
            )
        decoded = unquote(decoded)


def _bad(source: Source, reason: str) -> InvalidParameter:
    return InvalidParameter(f"Invalid model version source: '{source.uri[:500]}': {reason}.", field="source")
