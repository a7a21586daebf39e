"""Copying versions of registered models, with the run that they were created from."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from mistk_service.tracking.errors import NotSupported, ResourceExists, ResourceNotFound
from mistk_service.tracking.remotes import Remote
from mistk_service.tracking.replication.logged_model_sender import LoggedModelSender
from mistk_service.tracking.replication.run_sender import RunSender
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.values import ModelVersion, Run, Tag

__all__ = ["SOURCE_VERSION", "VersionSender"]

#: The tag of a remote's version that has the number of the local version that it is a copy of. Numbers may differ, since
#: other clients register versions, too.
SOURCE_VERSION = "mistk.sourceVersion"


class VersionSender:
    """Creates the versions of local runs on a remote, each once."""

    def __init__(self, store: Store, remote: Remote, models: LoggedModelSender) -> None:
        self._store = store
        self._remote = remote
        self._models = models

    def send(self, run: Run, name: str, version: str, sender: RunSender) -> None:
        """Create one version, if it does not exist.

        Raises:
            RunRefused: the remote's run does not exist any more.
            StoreUnavailable: it may have been created or not.
        """
        try:
            local = self._store.get_model_version(name, version)
        except ResourceNotFound:
            return
        if local.model_id is not None:
            self._models.copy(local.model_id, sender)
        sender.attempt(f"version {version} of {name}", lambda: self._create(run, local, sender))

    def send_all(self, run: Run, sender: RunSender) -> None:
        """Create all versions of a run that do not exist."""
        for local in self._store.search_model_versions(
            f"run_id = '{run.info.run_id}'", order_by=["version_number ASC"]
        ):
            self.send(run, local.name, local.version, sender)

    def _create(self, run: Run, local: ModelVersion, sender: RunSender) -> None:
        if self._is_there(local, sender.remote_run_id):
            return
        model = self._store.get_registered_model(local.name)
        with suppress(ResourceExists):
            self._remote.create_registered_model(model.name, model.tags, model.description)
        there = self._remote.get_run(sender.remote_run_id)
        moved = [
            (run.info.artifact_uri, there.info.artifact_uri),
            (f"runs:/{run.info.run_id}", f"runs:/{there.info.run_id}"),
        ]
        logged = None if local.model_id is None else self._models.there(local.model_id)
        if local.model_id is not None and logged is not None:
            moved.append((f"models:/{local.model_id}", f"models:/{logged.model_id}"))
            moved.append((self._store.get_logged_model(local.model_id).artifact_uri, logged.artifact_uri))
        self._remote.create_model_version(
            local.name,
            _moved(local.source, moved),
            sender.remote_run_id,
            [*local.tags, Tag(SOURCE_VERSION, local.version)],
            description=local.description or "",
            model_id=None if logged is None else logged.model_id,
        )

    def _is_there(self, local: ModelVersion, remote_run_id: str) -> bool:
        try:
            found = self._remote.search_model_versions(f"run_id = '{remote_run_id}'", max_results=1000)
        except NotSupported:
            return False
        mark = Tag(SOURCE_VERSION, local.version)
        return any(item.name == local.name and mark in item.tags for item in found)


def _moved(source: str, places: Sequence[tuple[str, str]]) -> str:
    """Return a version's source, with the local run or logged model replaced by the remote's."""
    for old, new in places:
        if source == old or source.startswith(f"{old}/"):
            return new + source[len(old) :]
    return source
