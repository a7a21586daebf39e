"""A run of a model whose data is collected in memory and sent when it ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from mistk_service.tracking.errors import InvalidParameter, InvalidState, ResourceNotFound, StoreError
from mistk_service.tracking.mlops.arguments import checked_mapping, checked_number, checked_text
from mistk_service.tracking.mlops.outgoing import Outgoing
from mistk_service.tracking.mlops.storing import (
    DATASET,
    FAILURE,
    MODEL_PATH,
    USED_DATASETS,
    Json,
    dataset_input,
    is_a,
    iso_time,
    number_json,
)
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.values import Metric, Param, Run, RunStatus, Tag
from mistk_service.tracking.values.limits import MAX_RUN_TAG_VALUE, check_metrics, check_params

#: The longest stored text of an exception, in characters.
_MAX_FAILURE = 2000

#: The number of refused items that an error message lists.
_MAX_REFUSED = 5


class Iteration(dict[str, Any]):
    """One run of a model: collects what is logged, and sends it when it ends.

    The store has it as a running run from the start. What is logged is validated at once, and a call that raises changes
    nothing. The data stays in memory until :meth:`end_iteration` has stored it. If that fails, nothing is lost: call it again.
    What the store has acknowledged is not sent twice. Once the iteration has ended, every method that logs something raises
    ``InvalidState``.

    As a context manager it ends with the block, and an exception marks it as failed. It is also a dictionary of its current
    state: ``iteration["id"]``, ``json.dumps(iteration)``. To change it, call its methods, which may be called from any thread.

    Args:
        store: the store.
        run: the run that represents it.
        project_id: the project of its experiment.
        clock: milliseconds since 1970.
    """

    def __init__(self, store: Store, run: Run, project_id: str, clock: Callable[[], int]) -> None:
        super().__init__(
            id=run.info.run_id,
            name=run.info.run_name,
            project_id=project_id,
            experiment_id=run.info.experiment_id,
            status=RunStatus.RUNNING.name,
            path_to_model=None,
            metrics={},
            parameters={},
            datasets=[],
            started_at=iso_time(run.info.start_time),
            ended_at=None,
        )
        self._store = store
        self._info = run.info
        self._clock = clock
        self._lock = threading.RLock()
        self._parameters: dict[str, str] = {}
        self._datasets: list[str] = []
        self._next_step: dict[str, int] = {}
        self._outgoing = Outgoing()
        self._status = RunStatus.RUNNING
        self._ended_at: int | None = None
        self._sent = False

    @property
    def ended(self) -> bool:
        """Whether everything is in the store."""
        return self._sent

    def log_path_to_model(self, path_to_model: str) -> None:
        """Log the path to the file of the model; the last path counts.

        Raises:
            InvalidParameter: the path is not a string, is blank, or is too long.
        """
        path = checked_text(path_to_model, "path_to_model", MAX_RUN_TAG_VALUE)
        with self._writable():
            self._outgoing.tags.append(Tag(MODEL_PATH, path))
            self["path_to_model"] = path

    def log_metric(self, metric_name: str, value: Any) -> None:
        """Log a value of a metric. The values of one name form a series with the steps 0, 1, 2 ...

        Args:
            metric_name: at most 250 letters, digits, blanks and characters of ``_-.:/``.
            value: a number, NaN and the infinities included; scalars of numpy and torch are numbers.

        Raises:
            InvalidParameter: the name or the value is not valid.
        """
        self.log_metrics({checked_text(metric_name, "metric_name"): value})

    def log_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Log values of several metrics: all of them, or none if one is not valid. See :meth:`log_metric`.

        Raises:
            InvalidParameter: the argument is not a dictionary, or a name or a value is not valid.
        """
        values = {key: checked_number(value, key) for key, value in checked_mapping(metrics, "metrics").items()}
        with self._writable():
            now = self._clock()
            points = [Metric(key, value, now, self._next_step.get(key, 0)) for key, value in values.items()]
            check_metrics(points, single=True)
            self._outgoing.metrics += points
            self._next_step.update((point.key, point.step + 1) for point in points)
            # A new dictionary each time, so that another thread can serialise the old one.
            self["metrics"] = self["metrics"] | {key: number_json(value) for key, value in values.items()}

    def log_parameter(self, parameter_name: str, value: Any) -> None:
        """Log a parameter, which has one value for the whole iteration.

        Args:
            parameter_name: as a metric's name.
            value: any object; ``str(value)`` is stored.

        Raises:
            InvalidParameter: the name or the value is not valid, or the parameter already has another value.
        """
        self.log_parameters({checked_text(parameter_name, "parameter_name"): value})

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Log several parameters: all of them, or none if one is not valid. See :meth:`log_parameter`.

        Raises:
            InvalidParameter: the argument is not a dictionary, a name or a value is not valid, or a parameter already has
                another value.
        """
        given = checked_mapping(parameters, "parameters")
        params = check_params([Param(key, str(value)) for key, value in given.items()], limit=None, single=True)
        with self._writable():
            for param in params:
                old = self._parameters.get(param.key, param.value)
                if old != param.value:
                    raise InvalidParameter(
                        f"The parameter {param.key!r} already has the value {old[:100]!r}, which cannot be changed to "
                        f"{param.value[:100]!r}. Use another name, or log it as a metric.",
                        field=param.key,
                    )
            new = [param for param in params if param.key not in self._parameters]
            self._outgoing.params += new
            self._parameters.update((param.key, param.value) for param in new)
            self["parameters"] = dict(self._parameters)

    def log_dataset(self, dataset_id: str) -> None:
        """Log that the iteration uses a dataset; logging it again changes nothing.

        Args:
            dataset_id: the id that ``create_dataset`` returned for the same store.

        Raises:
            ResourceNotFound: there is no such dataset.
            StoreUnavailable: the store is temporarily unavailable.
        """
        run = self._store.get_run(checked_text(dataset_id, "dataset_id"))
        if not is_a(DATASET, run.data.tags):
            raise ResourceNotFound(
                f"{dataset_id!r} is the id of a run, not of a dataset. Pass the id that create_dataset returned."
            )
        with self._writable():
            if run.info.run_id not in self._datasets:
                self._datasets.append(run.info.run_id)
                self._outgoing.inputs.append(dataset_input(run))
                self["datasets"] = list(self._datasets)

    def end_iteration(self) -> Json:
        """Send everything that was logged, end the iteration, and return it as a dictionary. A second call changes nothing.

        Raises:
            StoreUnavailable: the store is temporarily unavailable. Nothing is lost; call this again.
            InvalidParameter: the iteration has ended, and everything is stored except for the items that the message names.
                Some stores have stricter rules than MLflow, as GitLab has for NaN. Or its run was deleted in the meantime;
                restore it and call this again.
            StoreError: the run cannot be written to.
        """
        with self._lock:
            self._settle(RunStatus.FINISHED)
            if not self._sent:
                self._send()
            return dict(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.end_iteration()
        elif self._ended_at is None:  # otherwise it had ended before the exception
            self._end_failed(error)

    def __hash__(self) -> int:  # type: ignore[override]  # ids are unique, so equal ones are identical
        return id(self)

    def __repr__(self) -> str:
        return f"<Iteration {self._info.run_name!r}, {self._status.name}, id {self._info.run_id}>"

    @contextmanager
    def _writable(self) -> Iterator[None]:
        """Hold the lock while something is logged, unless the iteration has ended."""
        with self._lock:
            if self._ended_at is not None:
                raise InvalidState(
                    f"The iteration {self._info.run_name!r} has ended, so nothing more can be logged to it. "
                    "Start another one."
                )
            yield

    def _settle(self, status: RunStatus) -> None:
        """Set the final status and the end time, unless they are set."""
        if self._ended_at is None:
            # The clock may have been set back.
            self._status, self._ended_at = status, max(self._clock(), self._info.start_time)
            self.update(status=status.name, ended_at=iso_time(self._ended_at))
            if self._datasets:
                self._outgoing.tags.append(Tag(USED_DATASETS, json.dumps(self._datasets)))

    def _send(self) -> None:
        self._outgoing.send(self._store, self._info.run_id)
        self._store.update_run(self._info.run_id, self._status, self._ended_at)
        self._sent = True
        refused = self._outgoing.refused
        if refused:
            count = "1 item" if len(refused) == 1 else f"{len(refused)} items"
            shown = "; ".join(map(str, refused[:_MAX_REFUSED])) + ("; ..." if len(refused) > _MAX_REFUSED else "")
            raise InvalidParameter(
                f"The iteration {self._info.run_name!r} has ended and is stored, except for {count} that the store "
                f"refused: {shown}"
            )

    def _end_failed(self, error: BaseException) -> None:
        """End as failed. The caller raises ``error`` in any case."""
        with self._lock:
            self._outgoing.tags.append(Tag(FAILURE, f"{type(error).__name__}: {error}"[:_MAX_FAILURE]))
            self._settle(RunStatus.FAILED)
            try:
                self._send()
            except StoreError as unsent:
                error.add_note(
                    str(unsent)
                    if self._sent
                    else f"The iteration {self._info.run_name!r} could not be stored either: {unsent} "
                    "No data is lost. Call its end_iteration() to try again."
                )
