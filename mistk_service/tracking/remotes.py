"""Remote stores, to which runs are copied."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from mistk_service.tracking.artifacts import ArtifactRepository
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.values import LoggedModel, Run


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a remote supports. The defaults are those of MLflow's own server; each attribute notes what GitLab lacks.

    Attributes:
        search_filters: searches take filters, orders of several keys, view types and several experiments. GitLab ignores or
            refuses these.
        log_inputs: datasets and models that a run uses can be recorded as such. Not in GitLab.
        log_outputs: models that a run made, likewise.
        delete_tag: a tag of a run can be removed. Not in GitLab.
        rename_run: not in GitLab.
        batch_tags: tags can be sent in a batch. Some versions of GitLab drop them there.
        overwrites_tags: a tag can be set again. In GitLab the first value stays, and setting it again is refused.
        stores_repeats_once: a point that is sent twice is there once. In GitLab it is there twice.
        non_finite: NaN and infinities can be logged. GitLab refuses a batch with them.
        longest_param: characters of a param's value that are kept; 250 in GitLab.
        longest_tag: characters of a tag's value that are kept; 5000 in GitLab.
    """

    search_filters: bool = True
    log_inputs: bool = True
    log_outputs: bool = True
    delete_tag: bool = True
    rename_run: bool = True
    batch_tags: bool = True
    overwrites_tags: bool = True
    stores_repeats_once: bool = True
    non_finite: bool = True
    longest_param: int = 6000
    longest_tag: int = 8000


class Remote(Store):
    """A remote store, with access to its artifacts.

    The contract is that of :class:`~mistk_service.tracking.store.Store`, except that ``StoreUnavailable`` may also
    mean that a call was applied and its response was lost.
    """

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What it supports."""

    @abstractmethod
    def run_artifacts(self, run: Run) -> ArtifactRepository:
        """Return where the artifacts of a run are, ready to be read and written from here.

        Raises:
            UnsupportedStore: they are in a storage that cannot be reached from here, or whose library is missing.
            StoreUnavailable: the storage cannot be reached now.
        """

    @abstractmethod
    def model_artifacts(self, model: LoggedModel) -> ArtifactRepository:
        """Return where the files of a logged model are; see :meth:`run_artifacts`."""
