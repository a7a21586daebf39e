"""The interface of a store for models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from mistk_service.tracking.values import (
    Dataset,
    LoggedModel,
    LoggedModelOrder,
    LoggedModelStatus,
    ModelVersion,
    Param,
    RegisteredModel,
    Tag,
)
from mistk_service.tracking.values.page import Page


class RegistryStore(ABC):
    """Registered models and their versions. The general contract is that of :class:`mistk_service.tracking.store.Store`.

    Every method raises ``ResourceNotFound`` for a model or a version that does not exist, and ``InvalidParameter`` for a
    version that is not a number.
    """

    @abstractmethod
    def create_registered_model(
        self,
        name: str,
        tags: Sequence[Tag] = (),
        description: str | None = None,
        deployment_job_id: str | None = None,
    ) -> RegisteredModel:
        """Create a model without versions and return it.

        Raises:
            ResourceExists: the name is taken.
            InvalidParameter: the name (blank, or with ``/`` or ``:``) or a tag is not acceptable.
        """

    @abstractmethod
    def get_registered_model(self, name: str) -> RegisteredModel:
        """Return a model with its tags, its aliases and the highest version of each stage."""

    @abstractmethod
    def rename_registered_model(self, name: str, new_name: str) -> RegisteredModel:
        """Rename a model, its versions, tags and aliases.

        Raises:
            ResourceExists: the new name is taken.
        """

    @abstractmethod
    def update_registered_model(
        self, name: str, description: str | None, deployment_job_id: str | None = None
    ) -> RegisteredModel:
        """Set a model's description (None clears it) and, if passed, its deployment job."""

    @abstractmethod
    def delete_registered_model(self, name: str) -> None:
        """Remove a model with everything that belongs to it."""

    @abstractmethod
    def search_registered_models(
        self,
        filter: str = "",
        max_results: int = 100,
        order_by: Sequence[str] = (),
        page_token: str | None = None,
    ) -> Page[RegisteredModel]:
        """Return the models that match, by default by name.

        Models with the tag ``mlflow.prompt.is_prompt`` = ``true`` are left out unless the filter asks for them. A filter that
        excludes them also matches models without that tag.

        Args:
            filter: over name and tags.
            max_results: 1 to 1000.
            order_by: clauses over name, timestamp, last_updated_timestamp.
            page_token: the token of the previous page.
        """

    @abstractmethod
    def get_latest_versions(self, name: str, stages: Sequence[str] = ()) -> list[ModelVersion]:
        """Return the highest version of each of the stages, or of every stage if none is named."""

    @abstractmethod
    def set_registered_model_tag(self, name: str, tag: Tag) -> None:
        """Set a tag of a model."""

    @abstractmethod
    def delete_registered_model_tag(self, name: str, key: str) -> None:
        """Remove a tag of a model; a missing tag is not an error."""

    @abstractmethod
    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Point an alias to a version, also if it pointed to another.

        Raises:
            InvalidParameter: the alias is not 1 to 255 of ``[A-Za-z0-9_-]``, or is ``latest`` or of the form ``v1``.
        """

    @abstractmethod
    def delete_alias(self, name: str, alias: str) -> None:
        """Remove an alias; a missing one is not an error."""

    @abstractmethod
    def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion:
        """Return the version that an alias points to; ``latest``, in any case, is the version with the highest number.

        Raises:
            InvalidParameter: the alias does not exist.
            ResourceNotFound: the model does not exist, or ``latest`` is requested of one without versions.
        """

    @abstractmethod
    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str = "",
        tags: Sequence[Tag] = (),
        run_link: str = "",
        description: str = "",
        model_id: str | None = None,
    ) -> ModelVersion:
        """Create the next version of a model; a number that was used once is never used again.

        Args:
            name: the registered model.
            source: where the model's files are. A place that belongs to this server (a local path,
                ``mlflow-artifacts:``, ``runs:/ID``) must belong to the run or the logged model that is named;
                ``models:/NAME/VERSION`` takes over that version's run.
            run_id: the run that made it.
            tags: the last one of each key counts.
            run_link: the run's address in another server.
            description: a text.
            model_id: the logged model that it is.

        Raises:
            InvalidParameter: the source or a tag is not acceptable.
        """

    @abstractmethod
    def get_model_version(self, name: str, version: str) -> ModelVersion:
        """Return a version."""

    @abstractmethod
    def get_download_uri(self, name: str, version: str) -> str:
        """Return where the files of a version are."""

    @abstractmethod
    def update_model_version(self, name: str, version: str, description: str | None) -> ModelVersion:
        """Set a version's description; None clears it."""

    @abstractmethod
    def transition_stage(self, name: str, version: str, stage: str, archive_existing: bool = False) -> ModelVersion:
        """Move a version to a stage.

        Args:
            name: the registered model.
            version: the version.
            stage: ``None``, ``Staging``, ``Production`` or ``Archived`` in any letter case.
            archive_existing: whether other versions in that stage go to ``Archived``; for Staging and Production only.

        Raises:
            InvalidParameter: the stage does not exist, or it has nothing to archive.
        """

    @abstractmethod
    def delete_model_version(self, name: str, version: str) -> None:
        """Remove a version and the aliases that point to it."""

    @abstractmethod
    def search_model_versions(
        self,
        filter: str = "",
        max_results: int = 200_000,
        order_by: Sequence[str] = (),
        page_token: str | None = None,
    ) -> Page[ModelVersion]:
        """Return the versions that match, by default those that changed last first.

        Args:
            filter: over name, run_id, source_path, version_number and tags.
            max_results: 1 to 200000.
            order_by: clauses over name, version_number, creation_timestamp, last_updated_timestamp.
            page_token: the token of the previous page.
        """

    @abstractmethod
    def set_model_version_tag(self, name: str, version: str, tag: Tag) -> None:
        """Set a tag of a version."""

    @abstractmethod
    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        """Remove a tag of a version; a missing tag is not an error."""


class LoggedModelStore(ABC):
    """Logged models. The general contract is that of :class:`mistk_service.tracking.store.Store`.

    Every method raises ``ResourceNotFound`` for a model that does not exist or is deleted.
    """

    @abstractmethod
    def create_logged_model(
        self,
        experiment_id: str,
        name: str = "",
        model_type: str | None = None,
        source_run_id: str | None = None,
        params: Sequence[Param] = (),
        tags: Sequence[Tag] = (),
    ) -> LoggedModel:
        """Create a logged model in status LOGGED_MODEL_PENDING and return it; if ``name`` is "", one is generated."""

    @abstractmethod
    def get_logged_model(self, model_id: str) -> LoggedModel:
        """Return a logged model."""

    @abstractmethod
    def finalize_logged_model(self, model_id: str, status: LoggedModelStatus) -> LoggedModel:
        """Set how the upload of a logged model ended."""

    @abstractmethod
    def delete_logged_model(self, model_id: str) -> None:
        """Mark a logged model as deleted; it is not visible any more."""

    @abstractmethod
    def search_logged_models(
        self,
        experiment_ids: Sequence[str],
        filter: str = "",
        datasets: Sequence[Dataset] = (),
        max_results: int = 50,
        order_by: Sequence[LoggedModelOrder] = (),
        page_token: str | None = None,
    ) -> Page[LoggedModel]:
        """Return the logged models that match, by default the newest first.

        Args:
            experiment_ids: an empty list means no models.
            filter: over attributes, metrics, params and tags.
            datasets: if passed, only models that were measured on one of these; conditions on metrics then only consider
                points measured on them. An empty digest matches any.
            max_results: 1 to 1000.
            order_by: keys, the most significant first.
            page_token: the token of the previous page.
        """

    @abstractmethod
    def set_logged_model_tags(self, model_id: str, tags: Sequence[Tag]) -> LoggedModel:
        """Set tags of a logged model and return it."""

    @abstractmethod
    def delete_logged_model_tag(self, model_id: str, key: str) -> None:
        """Remove a tag of a logged model.

        Raises:
            ResourceNotFound: it has no such tag.
        """

    @abstractmethod
    def log_logged_model_params(self, model_id: str, params: Sequence[Param]) -> LoggedModel:
        """Add params to a logged model and return it; an existing param must have the same value.

        Raises:
            InvalidParameter: a param already has another value.
        """
