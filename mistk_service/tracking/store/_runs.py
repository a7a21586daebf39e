"""The interface of a store for experiments and runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future

from mistk_service.tracking.values import (
    Curve,
    DatasetInput,
    DatasetSummary,
    Experiment,
    Metric,
    ModelInput,
    ModelOutput,
    Param,
    Run,
    RunInfo,
    RunStatus,
    Tag,
    ViewType,
)
from mistk_service.tracking.values.page import Page


class ExperimentStore(ABC):
    """Experiments. The general contract is that of :class:`mistk_service.tracking.store.Store`.

    A method for one experiment raises ``ResourceNotFound`` if it does not exist. A write to a deleted one raises
    ``InvalidParameter``, like any invalid argument. Searches ignore experiments that do not exist.
    """

    @abstractmethod
    def create_experiment(self, name: str, artifact_location: str | None = None, tags: Sequence[Tag] = ()) -> str:
        """Create an experiment and return its id.

        Args:
            name: 1 to 500 characters, unique among active and deleted experiments.
            artifact_location: where its artifacts go; a local path is made absolute. None means a new folder
                below the store's artifact root.
            tags: its first tags; the last one of each key counts.

        Raises:
            ResourceExists: the name is taken, possibly by a deleted experiment.
            InvalidParameter: the name, the location or a tag is not acceptable.
        """

    @abstractmethod
    def get_experiment(self, experiment_id: str) -> Experiment:
        """Return an experiment, active or deleted."""

    @abstractmethod
    def get_experiment_by_name(self, name: str) -> Experiment:
        """Return the experiment of that name, active or deleted."""

    @abstractmethod
    def search_experiments(
        self,
        view_type: ViewType = ViewType.ACTIVE_ONLY,
        max_results: int = 1000,
        filter: str = "",
        order_by: Sequence[str] = (),
        page_token: str | None = None,
    ) -> Page[Experiment]:
        """Return the experiments that match, by default the newest first.

        Args:
            view_type: which lifecycle stages.
            max_results: 1 to 50000.
            filter: over name, experiment_id, creation_time, last_update_time and tags.
            order_by: clauses over the same four attributes.
            page_token: the token of the previous page.

        Raises:
            InvalidParameter: an argument is not valid; a FilterError has the position.
        """

    @abstractmethod
    def rename_experiment(self, experiment_id: str, new_name: str) -> None:
        """Give an active experiment another name.

        Raises:
            InvalidState: it is deleted.
            ResourceExists: the name is taken.
        """

    @abstractmethod
    def delete_experiment(self, experiment_id: str) -> None:
        """Mark an experiment and all its runs as deleted. A deleted experiment counts as missing."""

    @abstractmethod
    def restore_experiment(self, experiment_id: str) -> None:
        """Make a deleted experiment and **all** its runs active, also those that were deleted individually before.

        An experiment that is not deleted counts as missing.
        """

    @abstractmethod
    def set_experiment_tag(self, experiment_id: str, tag: Tag) -> None:
        """Set a tag of an active experiment, replacing one with the same key."""

    @abstractmethod
    def delete_experiment_tag(self, experiment_id: str, key: str) -> None:
        """Remove a tag of an active experiment; ``ResourceNotFound`` is raised for a missing tag, too."""

    @abstractmethod
    def search_datasets(self, experiment_ids: Sequence[str]) -> list[DatasetSummary]:
        """Return the datasets that runs of at most 20 experiments used, each (dataset, context) once."""


class RunStore(ABC):
    """Runs and their metrics. The general contract is that of :class:`mistk_service.tracking.store.Store`.

    A method for one run raises ``ResourceNotFound`` if it does not exist. A write to a deleted one raises
    ``InvalidParameter``, like any invalid argument. A run that does not exist has no points in the history of a metric.
    """

    @abstractmethod
    def create_run(
        self,
        experiment_id: str,
        user_id: str = "",
        run_name: str = "",
        start_time: int = 0,
        tags: Sequence[Tag] = (),
        *,
        run_id: str | None = None,
    ) -> Run:
        """Create a run in status RUNNING and return it.

        Args:
            experiment_id: an active experiment.
            user_id: kept as given.
            run_name: if it is "", the tag ``mlflow.runName`` names the run, and without the tag a name is generated. The
                run always has the tag afterwards.
            start_time: kept as given.
            tags: their values are not truncated.
            run_id: 32 hexadecimal digits; None to generate them. A store behind MLflow's REST API always generates them.

        Raises:
            ResourceNotFound: the experiment does not exist.
            ResourceExists: a run with that id exists.
            InvalidParameter: the experiment is deleted, a tag is not acceptable or comes twice, or ``run_name`` and the
                tag ``mlflow.runName`` differ.
        """

    @abstractmethod
    def submit_run(
        self, experiment_id: str, user_id: str = "", run_name: str = "", start_time: int = 0, tags: Sequence[Tag] = ()
    ) -> Future[Run]:
        """Do the same as :meth:`create_run` without waiting for it; see :meth:`submit_batch`."""

    @abstractmethod
    def get_run(self, run_id: str) -> Run:
        """Return a run, active or deleted."""

    @abstractmethod
    def update_run(
        self,
        run_id: str,
        status: RunStatus | None = None,
        end_time: int | None = None,
        run_name: str | None = None,
    ) -> RunInfo:
        """Change what is passed; a name of "" counts as not passed. The tag ``mlflow.runName`` follows the name."""

    @abstractmethod
    def delete_run(self, run_id: str) -> None:
        """Mark a run as deleted; it may be deleted already."""

    @abstractmethod
    def restore_run(self, run_id: str) -> None:
        """Make a run active; it may be active already."""

    @abstractmethod
    def search_runs(
        self,
        experiment_ids: Sequence[str],
        filter: str = "",
        view_type: ViewType = ViewType.ACTIVE_ONLY,
        max_results: int = 1000,
        order_by: Sequence[str] = (),
        page_token: str | None = None,
    ) -> Page[Run]:
        """Return the runs of the experiments that match, by default those that started last first.

        Args:
            experiment_ids: an empty list means no runs.
            filter: over attributes, metrics (the latest point), params, tags and datasets.
            view_type: which lifecycle stages.
            max_results: 1 to 50000.
            order_by: clauses such as ``metrics.loss ASC``; runs without the key come last in both directions, NaN
                before them. Ties are broken by the start time (latest first) and the id.
            page_token: the token of the previous page.

        Raises:
            InvalidParameter: an argument is not valid; a FilterError has the position.
        """

    @abstractmethod
    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric] = (),
        params: Sequence[Param] = (),
        tags: Sequence[Tag] = (),
    ) -> None:
        """Write metrics, params and tags to an active run: all of them, or none.

        The last tag of each key counts. A repeated point is stored once. Long param and tag values are truncated.

        Args:
            run_id: the run.
            metrics: at most 1000.
            params: at most 100, no key twice.
            tags: at most 100; together at most 1000.

        Raises:
            InvalidParameter: the run is deleted, a limit is exceeded, a key is not acceptable, or a param already has
                another value. ``field`` names the place.
        """

    @abstractmethod
    def submit_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric] = (),
        params: Sequence[Param] = (),
        tags: Sequence[Tag] = (),
    ) -> Future[None]:
        """Do the same as :meth:`log_batch` without waiting for it.

        Checks that need no database are made at once, so ``InvalidParameter`` may be raised here. The future is done
        when the batch is durable, or holds the error that ``log_batch`` would have raised. Waiting batches share a
        transaction.
        """

    def log_metric(self, run_id: str, metric: Metric) -> None:
        """Write one point. See :meth:`log_batch`."""
        self.log_batch(run_id, metrics=(metric,))

    def log_param(self, run_id: str, param: Param) -> None:
        """Write one param; logging the same value again is not an error. See :meth:`log_batch`."""
        self.log_batch(run_id, params=(param,))

    def set_tag(self, run_id: str, tag: Tag) -> None:
        """Set one tag; ``mlflow.runName`` renames the run. See :meth:`log_batch`."""
        self.log_batch(run_id, tags=(tag,))

    @abstractmethod
    def delete_tag(self, run_id: str, key: str) -> None:
        """Remove a tag of an active run; ``ResourceNotFound`` is raised for a missing tag, too."""

    @abstractmethod
    def log_inputs(self, run_id: str, datasets: Sequence[DatasetInput] = (), models: Sequence[ModelInput] = ()) -> None:
        """Record what an active run uses. Repeating an input changes nothing and keeps its first tags."""

    @abstractmethod
    def log_outputs(self, run_id: str, models: Sequence[ModelOutput]) -> None:
        """Record the logged models that an active run made; they need not exist in this store."""

    @abstractmethod
    def record_model(self, run_id: str, model_json: str) -> None:
        """Append a model's description to the tag ``mlflow.log-model.history``, as MLflow 1 and 2 do.

        Args:
            run_id: the run.
            model_json: a JSON object with at least artifact_path, flavors, utc_time_created and run_id.
        """

    @abstractmethod
    def get_metric_history(
        self, run_id: str, key: str, max_results: int | None = None, page_token: str | None = None
    ) -> Page[Metric]:
        """Return the points of one metric by (timestamp, step, value); of an unknown run or key, none.

        Args:
            run_id: the run, active or deleted.
            key: the metric.
            max_results: at least 1; None means all.
            page_token: the token of the previous page.
        """

    @abstractmethod
    def get_metric_history_bulk(self, run_ids: Sequence[str], key: str, max_results: int = 25_000) -> list[Metric]:
        """Return the points of one metric in several runs, the runs sorted by id, truncated to ``max_results`` in total.

        Args:
            run_ids: 1 to 100 runs; unknown ones have no points.
            key: the metric.
            max_results: at most 25000; a higher number means 25000.
        """

    @abstractmethod
    def get_metric_history_interval(
        self,
        run_ids: Sequence[str],
        key: str,
        start_step: int | None = None,
        end_step: int | None = None,
        max_results: int = 2500,
    ) -> list[Metric]:
        """Return a sample of each run's points by step, the runs in the given order.

        The points are divided into ``max_results`` buckets of nearly the same size, and the first of each is returned; the
        last of those is replaced by the last point.

        Args:
            run_ids: 1 to 100 runs; unknown ones have no points.
            key: the metric.
            start_step: the first step; requires ``end_step``.
            end_step: the last step, not smaller.
            max_results: 1 to 2500 for each run.
        """

    @abstractmethod
    def get_metric_columns(
        self,
        run_ids: Sequence[str],
        key: str,
        x: str = "step",
        start: int | None = None,
        end: int | None = None,
        columns: int = 1000,
    ) -> list[Curve]:
        """Return a metric of several runs, reduced to the width of a chart, the runs in the given order.

        Args:
            run_ids: 1 to 100 runs; unknown ones have no curve.
            key: the metric.
            x: the x axis: ``step`` or ``timestamp``.
            start: the first x; None for that of the first point.
            end: the last x; None for that of the last point.
            columns: 1 to 10000 columns of pixels for each run, of the same width. Up to four points for each column are
                all returned.
        """
