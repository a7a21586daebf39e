"""Copying logged models, with their files, before anything that refers to them, and versions of registered models."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TypeVar

from msgspec.structs import replace

from mistk_service.tracking.errors import InvalidParameter, NotSupported, ResourceExists, ResourceNotFound
from mistk_service.tracking.remotes import Remote
from mistk_service.tracking.replication.artifact_sender import ArtifactFolder, ArtifactSender
from mistk_service.tracking.replication.run_mapping import RemoteRuns, RunRefused
from mistk_service.tracking.replication.run_sender import RunSender
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.values import (
    LoggedModel,
    LoggedModelStatus,
    ModelInput,
    ModelOutput,
    ModelVersion,
    Run,
    Tag,
)
from mistk_service.tracking.values.page import pages

#: The tag of a remote's logged model that names the local model that it is a copy of.
SOURCE_MODEL = "mistk.sourceModelId"
#: The tag of a remote's version that has the number of the local version that it is a copy of. Numbers may differ, since
#: other clients register versions, too.
SOURCE_VERSION = "mistk.sourceVersion"
#: The versions that were registered from a model; the remote has its own numbers.
_VERSIONS = "mlflow.modelVersions"
_PAGE = 100

Use = TypeVar("Use", ModelInput, ModelOutput)


class LoggedModelSender:
    """Finds the remote's logged models for local ones, and creates those that are missing."""

    def __init__(self, store: Store, remote: Remote, runs: RemoteRuns, files: ArtifactSender) -> None:
        self._store = store
        self._remote = remote
        self._runs = runs
        self._files = files
        self._known: dict[str, str] = {}

    def copy(self, model_id: str, sender: RunSender) -> None:
        """Copy what the remote lacks of a logged model, files included.

        Args:
            model_id: the local model.
            sender: sends to a run that created or uses it.

        Raises:
            RunRefused: the remote's run does not exist any more.
            StoreUnavailable: call this again.
        """
        sender.attempt(f"logged model {model_id}", lambda: self._copy(model_id, sender))

    def copy_all(self, run: Run, sender: RunSender) -> None:
        """Copy the logged models that a run has created."""
        experiment, condition = run.info.experiment_id, f"source_run_id = '{run.info.run_id}'"
        search = self._store.search_logged_models
        for page in pages(lambda token: search([experiment], condition, max_results=_PAGE, page_token=token)):
            for model in page:
                self.copy(model.model_id, sender)

    def translated(self, uses: Sequence[Use], sender: RunSender) -> list[Use]:
        """Copy the models that a run uses or has created, and return the references with the remote's ids."""
        for use in uses:
            if use.model_id not in self._known:
                self.copy(use.model_id, sender)
        # A model that could not be copied keeps its local id.
        return [replace(use, model_id=self._known.get(use.model_id, use.model_id)) for use in uses]

    def copy_of(self, model_id: str) -> LoggedModel | None:
        """Return the remote's copy of a model, or None if it could not be copied."""
        found = self._known.get(model_id)
        return None if found is None else self._remote.get_logged_model(found)

    def _copy(self, model_id: str, sender: RunSender) -> None:
        try:
            model = self._store.get_logged_model(model_id)
        except ResourceNotFound:
            # It was deleted in the meantime, or belongs to another server.
            return
        try:
            there = self._find_or_create(model, sender)
        except NotSupported:
            # A server without logged models has nothing that could refer to them.
            return
        self._known[model_id] = there.model_id
        tags = {tag.key: tag.value for tag in there.tags}
        missing = [tag for tag in _tags(model) if tags.get(tag.key) != tag.value]
        if missing:
            self._remote.set_logged_model_tags(there.model_id, missing)
        params = [param for param in model.params if param not in there.params]
        if params:
            self._remote.log_logged_model_params(there.model_id, params)
        target = self._remote.model_artifacts(there)
        self._files.send_all(ArtifactFolder(there.model_id, model.artifact_uri, lambda: target), sender)
        if model.status is not there.status and model.status is not LoggedModelStatus.LOGGED_MODEL_PENDING:
            self._remote.finalize_logged_model(there.model_id, model.status)

    def _find_or_create(self, model: LoggedModel, sender: RunSender) -> LoggedModel:
        source = next((tag.value for tag in model.tags if tag.key == SOURCE_MODEL), None)
        if source is not None:
            # It is a copy itself, possibly of a model of the remote.
            try:
                return self._remote.get_logged_model(source)
            except ResourceNotFound:
                pass
        try:
            experiment_id = self._runs.experiment(model.experiment_id)
        except RunRefused as error:
            # Only the model is refused; the rest of a run that uses it can be copied.
            raise InvalidParameter(str(error)) from error
        found = self._remote.search_logged_models([experiment_id], f"tags.`{SOURCE_MODEL}` = '{model.model_id}'")
        for there in found:
            return there
        return self._remote.create_logged_model(
            experiment_id,
            model.name,
            model.model_type,
            self._source_run(model.source_run_id, sender),
            model.params,
            _tags(model),
        )

    def _source_run(self, run_id: str | None, sender: RunSender) -> str | None:
        if run_id is None or run_id == sender.run_id:
            return sender.remote_run_id if run_id else None
        return self._runs.counterpart(sender.run_id, run_id)


def _tags(model: LoggedModel) -> list[Tag]:
    """Return all tags of a model's copy: its own, and the one that names its source."""
    own = [tag for tag in model.tags if tag.key not in (SOURCE_MODEL, _VERSIONS)]
    return [*own, Tag(SOURCE_MODEL, model.model_id)]


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
        logged = None if local.model_id is None else self._models.copy_of(local.model_id)
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
