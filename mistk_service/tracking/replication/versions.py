"""Bringing versions of registered models over, with the run that they were made from."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from mistk_service.tracking.errors import NotSupported, ResourceExists, ResourceNotFound
from mistk_service.tracking.replication.models import LoggedModels
from mistk_service.tracking.replication.remote import Remote
from mistk_service.tracking.replication.sending import Sender
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.values import ModelVersion, Run, Tag

__all__ = ["SOURCE_VERSION", "Versions"]

#: The tag by which a remote's version is known to be the same as a local one; its value is the local number. Numbers may
#: differ, since others register versions there, too.
SOURCE_VERSION = "mistk.sourceVersion"


class Versions:
    """Makes the versions that local runs have on a remote, each once.

    Args:
        store: the local store.
        remote: the remote.
        models: sends the logged models that versions are made from.
    """

    def __init__(self, store: Store, remote: Remote, models: LoggedModels) -> None:
        self._store = store
        self._remote = remote
        self._models = models

    def send(self, run: Run, name: str, version: str, sender: Sender) -> None:
        """Make one version, if it is not there.

        Raises:
            RunRefused: the remote's run is gone.
            StoreUnavailable: it may have been made or not.
        """
        try:
            local = self._store.get_model_version(name, version)
        except ResourceNotFound:
            return
        if local.model_id is not None:
            self._models.bring(local.model_id, sender)
        sender.attempt(f"version {version} of {name}", lambda: self._make(run, local, sender))

    def send_all(self, run: Run, sender: Sender) -> None:
        """Make all versions of a run that are not there."""
        for local in self._store.search_model_versions(
            f"run_id = '{run.info.run_id}'", order_by=["version_number ASC"]
        ):
            self.send(run, local.name, local.version, sender)

    def _make(self, run: Run, local: ModelVersion, sender: Sender) -> None:
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
    """Return a version's source with the remote's run or logged model in place of the local one."""
    for old, new in places:
        if source == old or source.startswith(f"{old}/"):
            return new + source[len(old) :]
    return source
