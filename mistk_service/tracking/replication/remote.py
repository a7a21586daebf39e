"""The interface of a remote, and the meaning of its errors for replication."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit, urlunsplit

from mistk_service.tracking.artifacts import ArtifactRepository
from mistk_service.tracking.errors import PermissionDenied, StoreError, StoreUnavailable
from mistk_service.tracking.values import (
    DatasetInput,
    Experiment,
    LoggedModel,
    LoggedModelStatus,
    Metric,
    ModelInput,
    ModelOutput,
    ModelVersion,
    Param,
    RegisteredModel,
    Run,
    RunInfo,
    RunStatus,
    Tag,
    ViewType,
)
from mistk_service.tracking.values.page import Page

if TYPE_CHECKING:
    from mistk_service.tracking.rest import RestConfig

__all__ = [
    "SOURCE_RUN",
    "Abilities",
    "Remote",
    "RemoteConfig",
    "is_refusal",
    "may_be_the_item",
    "open_remote",
    "remote_name",
    "takes_something",
]

#: The tag by which a remote's run is known to be the same as a local one; its value is the local run's id.
SOURCE_RUN = "mistk.sourceRunId"


class RemoteConfig(Protocol):
    """The configuration of a remote."""

    @property
    def uri(self) -> str:
        """Its URI, possibly with a password."""


class Abilities(Protocol):
    """The capabilities of a remote that replication depends on."""

    @property
    def stores_repeats_once(self) -> bool:
        """Whether a metric point that is sent twice is stored once."""


class Remote(Protocol):
    """The part of a store's interface that replication uses, and access to the remote's artifacts.

    :class:`mistk_service.tracking.store.Store` documents the methods. Here, ``StoreUnavailable`` may also mean that the call
    was applied and its response was lost.
    """

    @property
    def capabilities(self) -> Abilities:
        """The remote's capabilities."""

    def run_artifacts(self, run: Run) -> ArtifactRepository:
        """Return the artifacts of one of its runs."""

    def model_artifacts(self, model: LoggedModel) -> ArtifactRepository:
        """Return the files of one of its logged models."""

    def check(self) -> None: ...  # noqa: D102
    def create_experiment(  # noqa: D102
        self, name: str, artifact_location: str | None = None, tags: Sequence[Tag] = ()
    ) -> str: ...
    def get_experiment_by_name(self, name: str) -> Experiment: ...  # noqa: D102
    def create_run(  # noqa: D102
        self, experiment_id: str, user_id: str = "", run_name: str = "", start_time: int = 0, tags: Sequence[Tag] = ()
    ) -> Run: ...
    def get_run(self, run_id: str) -> Run: ...  # noqa: D102
    def update_run(  # noqa: D102
        self,
        run_id: str,
        status: RunStatus | None = None,
        end_time: int | None = None,
        run_name: str | None = None,
    ) -> RunInfo: ...
    def delete_run(self, run_id: str) -> None: ...  # noqa: D102
    def restore_run(self, run_id: str) -> None: ...  # noqa: D102
    def search_runs(  # noqa: D102
        self,
        experiment_ids: Sequence[str],
        filter: str = "",
        view_type: ViewType = ViewType.ACTIVE_ONLY,
        max_results: int = 1000,
        order_by: Sequence[str] = (),
        page_token: str | None = None,
    ) -> Page[Run]: ...
    def log_batch(  # noqa: D102
        self, run_id: str, metrics: Sequence[Metric] = (), params: Sequence[Param] = (), tags: Sequence[Tag] = ()
    ) -> None: ...
    def delete_tag(self, run_id: str, key: str) -> None: ...  # noqa: D102
    def log_inputs(  # noqa: D102
        self, run_id: str, datasets: Sequence[DatasetInput] = (), models: Sequence[ModelInput] = ()
    ) -> None: ...
    def log_outputs(self, run_id: str, models: Sequence[ModelOutput]) -> None: ...  # noqa: D102
    def get_metric_history(  # noqa: D102
        self, run_id: str, key: str, max_results: int | None = None, page_token: str | None = None
    ) -> Page[Metric]: ...
    def create_logged_model(  # noqa: D102
        self,
        experiment_id: str,
        name: str = "",
        model_type: str | None = None,
        source_run_id: str | None = None,
        params: Sequence[Param] = (),
        tags: Sequence[Tag] = (),
    ) -> LoggedModel: ...
    def get_logged_model(self, model_id: str) -> LoggedModel: ...  # noqa: D102
    def search_logged_models(  # noqa: D102
        self, experiment_ids: Sequence[str], filter: str = ""
    ) -> Page[LoggedModel]: ...
    def set_logged_model_tags(self, model_id: str, tags: Sequence[Tag]) -> LoggedModel: ...  # noqa: D102
    def log_logged_model_params(self, model_id: str, params: Sequence[Param]) -> LoggedModel: ...  # noqa: D102
    def finalize_logged_model(self, model_id: str, status: LoggedModelStatus) -> LoggedModel: ...  # noqa: D102
    def create_registered_model(  # noqa: D102
        self, name: str, tags: Sequence[Tag] = (), description: str | None = None
    ) -> RegisteredModel: ...
    def create_model_version(  # noqa: D102
        self,
        name: str,
        source: str,
        run_id: str = "",
        tags: Sequence[Tag] = (),
        run_link: str = "",
        description: str = "",
        model_id: str | None = None,
    ) -> ModelVersion: ...
    def search_model_versions(  # noqa: D102
        self,
        filter: str = "",
        max_results: int = 200_000,
        order_by: Sequence[str] = (),
        page_token: str | None = None,
    ) -> Page[ModelVersion]: ...
    def close(self) -> None: ...  # noqa: D102


def open_remote(remote: str | RestConfig) -> Remote:
    """Open a remote. Nothing is sent yet.

    Args:
        remote: a URI, which is accessed as the environment says, or a configuration.

    Raises:
        UnsupportedStore: the URI is not a tracking server's.
        InvalidParameter: the configuration cannot be used.
    """
    # The HTTP library is loaded only where there is a remote.
    from mistk_service.tracking.rest import open_rest_store

    return open_rest_store(remote)


def is_refusal(error: StoreError) -> bool:
    """Return whether the same call would fail again. An outage ends, and a token may be renewed, so neither is a refusal."""
    return not isinstance(error, StoreUnavailable | PermissionDenied) and error.error_code != "UNAUTHENTICATED"


def may_be_the_item(error: Exception) -> bool:
    """Return whether an apparently temporary error may be caused by what was sent, and would then never end.

    It is not if the remote names a time for the next attempt.
    """
    return getattr(error, "retry_after", None) is None


def remote_name(uri: str) -> str:
    """Return a remote's URI as it is shown and stored: without user, password, query and trailing slashes."""
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2].lower()
    return urlunsplit((parts.scheme.lower(), host, parts.path.rstrip("/"), "", ""))


def takes_something(remote: Remote, remote_run_id: str, run_id: str) -> bool:
    """Return whether a remote accepts a write to a run now: a tag that it already has.

    A read would not be enough, since the remote's disk may be full.
    """
    try:
        remote.log_batch(remote_run_id, (), (), [Tag(SOURCE_RUN, run_id)])
    except StoreError as error:
        return is_refusal(error)
    return True
