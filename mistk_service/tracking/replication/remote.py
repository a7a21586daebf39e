"""What forwarding needs of a remote, and how it takes its errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
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

__all__ = [
    "SOURCE_RUN",
    "Abilities",
    "Remote",
    "RemoteConfig",
    "is_refusal",
    "may_be_the_item",
    "remote_name",
    "takes_something",
]

#: The tag by which a remote's run is known to be the same as a local one; its value is the local run's id.
SOURCE_RUN = "mistk.sourceRunId"


class RemoteConfig(Protocol):
    """How to reach a remote."""

    @property
    def uri(self) -> str:
        """Its URI, possibly with a password."""


class Abilities(Protocol):
    """What a remote can do, as far as forwarding has to know."""

    @property
    def stores_repeats_once(self) -> bool:
        """Whether a point that is there already is not stored again."""


class Remote(Protocol):
    """The part of a store's interface that forwarding uses, and what a remote has besides.

    What the methods do is said at :class:`mistk_service.tracking.store.Store`. ``StoreUnavailable`` may mean here that the
    call was applied and its answer was lost.
    """

    @property
    def capabilities(self) -> Abilities:
        """What it can do."""

    def run_artifacts(self, run: Run) -> ArtifactRepository:
        """Return where the artifacts of one of its runs are."""

    def model_artifacts(self, model: LoggedModel) -> ArtifactRepository:
        """Return where the files of one of its logged models are."""

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


def is_refusal(error: StoreError) -> bool:
    """Return whether the same call would fail for ever: not where the remote is away, and a token may be renewed."""
    return not isinstance(error, StoreUnavailable | PermissionDenied) and error.error_code != "UNAUTHENTICATED"


def may_be_the_item(error: Exception) -> bool:
    """Return whether an error that might pass may as well come from what was sent, and then comes back for ever.

    Where the remote says when to come again, it is not.
    """
    return getattr(error, "retry_after", None) is None


def remote_name(uri: str) -> str:
    """Return a remote's URI as it is shown and remembered: without user, password, query and trailing slashes."""
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2].lower()
    return urlunsplit((parts.scheme.lower(), host, parts.path.rstrip("/"), "", ""))


def takes_something(remote: Remote, remote_run_id: str, run_id: str) -> bool:
    """Return whether a remote takes something of a run now: the tag that it has already.

    That it can be read would not be enough, since its disk may be full.
    """
    try:
        remote.log_batch(remote_run_id, (), (), [Tag(SOURCE_RUN, run_id)])
    except StoreError as error:
        return is_refusal(error)
    return True
