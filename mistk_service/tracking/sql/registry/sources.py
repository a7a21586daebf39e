"""Finds the files of a new model version, and checks whether a client may register them.

A source in this server's own storage (a local path, the artifact proxy, a run, a logged model) must belong to the run or
the logged model in the request. Otherwise a version could be used to read any file of the server.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from sqlalchemy import Connection, select

from mistk_service.tracking.errors import InvalidParameter
from mistk_service.tracking.sql.registry.logged_models import find_logged_model
from mistk_service.tracking.sql.registry.version_reader import find_version, version_number, version_of_alias
from mistk_service.tracking.sql.tables import logged_models, runs
from mistk_service.tracking.values.limits import is_latest

_MODEL_ID = re.compile(r"m-[0-9a-f]{32}")
#: URI schemes with the host of a server.
_HOST_ADDRESSED = frozenset({"ftp", "sftp", "hdfs", "viewfs", "http", "https", "mlflow-artifacts", "r2", "b2", "abfss"})
#: The placeholder that MLflow's client sends as the source of a prompt.
_PLACEHOLDER = re.compile(r"dummy-source|prompt-template")


@dataclass(frozen=True)
class Source:
    """The source of a version, from a request.

    Attributes:
        uri: the location of the files.
        run_id: the run that made them, or "".
        model_id: the logged model that they are, or None.
        prompt: whether the version is a prompt, which has its text in a tag, and no files.
    """

    uri: str
    run_id: str
    model_id: str | None
    prompt: bool = False


@dataclass(frozen=True)
class Located:
    """A source that was checked.

    Attributes:
        uri: the source, with the number of a version in place of an alias.
        location: the real location of the files.
        run_id: the run that made them, or "".
        model_id: the logged model that they are, or None.
    """

    uri: str
    location: str
    run_id: str
    model_id: str | None


def locate(connection: Connection, source: Source) -> Located:
    """Return where the files of a source are.

    Raises:
        InvalidParameter: the source is not acceptable.
        ResourceNotFound: it refers to a model, version or logged model that does not exist.
    """
    uri = source.uri
    if not uri:
        raise InvalidParameter("Missing value for required parameter 'source'.", field="source")
    if source.prompt:
        if not _PLACEHOLDER.fullmatch(uri):
            raise InvalidParameter(
                f"Invalid prompt source: '{uri[:500]}'. Prompt sources must use an MLflow placeholder.", field="source"
            )
        return Located(uri, uri, source.run_id, source.model_id)
    parts = urlsplit(uri)
    _refuse_foreign_hosts(parts)
    if parts.scheme == "models":
        return _from_model(connection, source, parts)
    _refuse_relative_parts(source)
    # A single letter is the drive of a Windows path.
    if parts.scheme in ("", "file") or len(parts.scheme) == 1:
        if not _is_owned(connection, source):
            raise _local(source)
    elif parts.scheme == "mlflow-artifacts":
        if not _is_owned(connection, source):
            raise _foreign(source)
    elif parts.scheme == "runs":
        run_id = parts.path.strip("/").split("/")[0]
        if source.model_id or parts.netloc or not source.run_id or run_id != source.run_id:
            raise _foreign(source)
    run_id = source.run_id
    if not run_id and source.model_id:
        run_id = find_logged_model(connection, source.model_id, lock=False).source_run_id or ""
    return Located(uri, uri, run_id, source.model_id)


def _from_model(connection: Connection, source: Source, parts: SplitResult) -> Located:
    path = parts.path.strip("/")
    if _MODEL_ID.fullmatch(path):
        if source.model_id != path or parts.netloc:
            raise _foreign(source, "model_id")
        model = find_logged_model(connection, path, lock=False)
        return Located(source.uri, model.artifact_uri, source.run_id or model.source_run_id or "", path)
    name, separator, version = path.partition("/")
    if not separator:
        name, separator, version = path.partition("@")
    if separator == "@" or is_latest(version):
        version = str(version_of_alias(connection, name, version) or "")
    if parts.netloc or not separator or not version:
        raise _bad(source, "Expected models:/NAME/VERSION, models:/NAME@ALIAS or models:/MODEL_ID.")
    row = find_version(connection, name, version_number(version), lock=False)
    if (source.run_id or row.run_id) != row.run_id or (source.model_id or row.model_id) != row.model_id:
        raise _bad(source, "The run_id and model_id request parameters must match the referenced model version.")
    return Located(f"models:/{name}/{version}", row.storage_location, row.run_id, row.model_id)


def _is_owned(connection: Connection, source: Source) -> bool:
    """Return whether a source is in the folder of the logged model in the request, or else of the run."""
    if source.model_id:
        found = select(logged_models.c.artifact_uri).where(logged_models.c.model_id == source.model_id)
    else:
        found = select(runs.c.artifact_uri).where(runs.c.run_id == source.run_id)
    root = connection.execute(found).scalar()
    if root is None:
        return False
    place, folder = _place(source.uri), _place(root)
    return place == folder or place.startswith(folder + "/")


def _place(uri: str) -> str:
    """Return a normal form of a location: the kind of storage and the normal form of the path."""
    parts = urlsplit(uri)
    path = parts.path if not parts.scheme else unquote(parts.path)
    kind = "local" if parts.scheme in ("", "file") else parts.scheme
    return f"{kind}:{posixpath.normpath('/' + path.lstrip('/'))}"


def _refuse_foreign_hosts(parts: SplitResult) -> None:
    scheme = parts.scheme
    # Without a host, mlflow-artifacts: is this server.
    if scheme in _HOST_ADDRESSED and (scheme != "mlflow-artifacts" or parts.netloc):
        raise InvalidParameter(
            f"'source' cannot use the '{scheme}' scheme: the '{scheme}' scheme addresses a host other than the tracking "
            "server's configured artifact storage. Register what a run or a logged model of this server has.",
            field="source",
        )


def _refuse_relative_parts(source: Source) -> None:
    decoded = source.uri
    # A reader might decode it several times.
    for _ in range(5):
        parts = decoded.replace("\\", "/").split("/")
        if ".." in parts or "." in parts or "\0" in decoded:
            raise _bad(
                source,
                "If supplying a source as an http, https, local file path, ftp, objectstore, or mlflow-artifacts uri, an "
                "absolute path must be provided without relative path references present. Please provide an absolute path.",
            )
        decoded = unquote(decoded)


def _local(source: Source) -> InvalidParameter:
    name, owner = ("model_id", "logged model") if source.model_id else ("run_id", "run")
    return _bad(
        source,
        f"To use a local path as a model version source, the {name} request parameter has to be specified and the local "
        f"path has to be contained within the artifact directory of the {owner} specified by the {name}.",
    )


def _foreign(source: Source, name: str | None = None) -> InvalidParameter:
    named = name or ("model_id" if source.model_id else "run_id")
    return _bad(source, f"The {named} request parameter must identify the resource that contains the source.")


def _bad(source: Source, reason: str) -> InvalidParameter:
    return InvalidParameter(f"Invalid model version source: '{source.uri[:500]}'. {reason}", field="source")
