"""A run of a model, of which everything is gathered here and sent at its end."""

from __future__ import annotations

import json
import threading
import time
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
    moment,
    number_json,
)
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.values import Metric, Param, Run, RunStatus, Tag
from mistk_service.tracking.values.limits import MAX_RUN_TAG_VALUE, check_metrics, check_params

__all__ = ["Iteration"]

#: Characters of the exception's text that are kept of a failure.
_MAX_FAILURE = 2000

#: How many of the things that a store refuses are named.
_MAX_REFUSED = 5


class Iteration(Mapping[str, Any]):
    """One run of a model: gathers what is logged, and sends it when it ends.

    It is in the store, as running, from the start. What is logged is checked at the call, which changes nothing where it
    raises, and stays here until :meth:`end_iteration` has brought it into the store. Where that fails, nothing is lost:
    call it again. What the store has acknowledged is not sent twice.

    As a context manager it ends with the block, and an exception marks it failed. As a mapping it is its JSON of the
    moment: ``iteration["id"]``, ``dict(iteration)``. All methods may be called from any thread.

    Args:
        store: where it goes.
        run: the run that stands for it.
        project_id: the project that its experiment belongs to.
        clock: milliseconds since 1970.
    """

    def __init__(
        self, store: Store, run: Run, project_id: str, clock: Callable[[], int] = lambda: int(time.time() * 1000)
    ) -> None:
        self._store = store
        self._info = run.info
        self._project_id = project_id
        self._clock = clock
        self._lock = threading.RLock()
        self._metrics: dict[str, float] = {}
        self._parameters: dict[str, str] = {}
        self._model_path: str | None = None
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
        """Note where the file of the tracked model is; of several, the last counts.

        Raises:
            InvalidParameter: it is no text, or too long.
            InvalidState: the iteration has ended.
        """
        path = checked_text(path_to_model, "path_to_model", MAX_RUN_TAG_VALUE)
        with self._writable():
            self._model_path = path
            self._outgoing.tags.append(Tag(MODEL_PATH, path))

    def log_metric(self, metric_name: str, value: Any) -> None:
        """Note the value of a metric. A name may come again: its values make a series, with the steps 0, 1, 2 ...

        Args:
            metric_name: at most 250 letters, digits, blanks and characters of ``_-.:/``.
            value: a number, NaN and the infinities included; scalars of numpy and torch are numbers.

        Raises:
            InvalidParameter: the name or the value is not acceptable.
            InvalidState: the iteration has ended.
        """
        self.log_metrics({checked_text(metric_name, "metric_name"): value})

    def log_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Note the values of several metrics, all of them or, where one is not acceptable, none. See :meth:`log_metric`.

        Raises:
            InvalidParameter: it is no dictionary, or a name or a value is not acceptable.
            InvalidState: the iteration has ended.
        """
        values = {key: checked_number(value, key) for key, value in checked_mapping(metrics, "metrics").items()}
        with self._writable():
            now = self._clock()
            points = [Metric(key, value, now, self._next_step.get(key, 0)) for key, value in values.items()]
            check_metrics(points, single=True)
            self._outgoing.metrics += points
            self._next_step.update((point.key, point.step + 1) for point in points)
            self._metrics.update(values)

    def log_parameter(self, parameter_name: str, value: Any) -> None:
        """Note a parameter, which has one value for the whole iteration.

        Args:
            parameter_name: as a metric's name.
            value: anything; its text is stored.

        Raises:
            InvalidParameter: the name or the value is not acceptable, or the parameter has another value already.
            InvalidState: the iteration has ended.
        """
        self.log_parameters({checked_text(parameter_name, "parameter_name"): value})

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Note several parameters, all of them or, where one is not acceptable, none. See :meth:`log_parameter`.

        Raises:
            InvalidParameter: it is no dictionary, a name or a value is not acceptable, or a parameter has another value.
            InvalidState: the iteration has ended.
        """
        given = checked_mapping(parameters, "parameters")
        params = check_params([Param(key, str(value)) for key, value in given.items()], limit=None, single=True)
        with self._writable():
            for param in params:
                old = self._parameters.get(param.key, param.value)
                if old != param.value:
                    raise InvalidParameter(
                        f"The parameter {param.key!r} has the value {old[:100]!r} already, and cannot become "
                        f"{param.value[:100]!r}. Log it under another name, or as a metric.",
                        field=param.key,
                    )
            new = [param for param in params if param.key not in self._parameters]
            self._outgoing.params += new
            self._parameters.update((param.key, param.value) for param in new)

    def log_dataset(self, dataset_id: str) -> None:
        """Note that the iteration uses a dataset; the same one again changes nothing.

        Args:
            dataset_id: of a dataset that ``create_dataset`` has made in the same store.

        Raises:
            ResourceNotFound: there is no such dataset.
            InvalidState: the iteration has ended.
            StoreUnavailable: the store cannot be asked now.
        """
        run = self._store.get_run(checked_text(dataset_id, "dataset_id"))
        if not is_a(DATASET, run.data.tags):
            raise ResourceNotFound(
                f"{dataset_id!r} is a run, but no dataset. Expected the id that create_dataset returned.",
                kind="dataset",
                key=dataset_id,
            )
        with self._writable():
            if run.info.run_id not in self._datasets:
                self._datasets.append(run.info.run_id)
                self._outgoing.inputs.append(dataset_input(run))

    def end_iteration(self) -> Json:
        """Send everything that was gathered, end the iteration, and return it as JSON. Ending twice changes nothing.

        Raises:
            StoreUnavailable: the store cannot take it now. Nothing is lost; call this again.
            InvalidParameter: the iteration has ended, and everything is in the store but for what the message names: this
                store has stricter rules than MLflow's, as GitLab has for NaN. Or its run was deleted in the meantime;
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
        elif self._ended_at is None:  # else it has come to its end, whatever happened after that
            self._end_failed(error)

    def __getitem__(self, key: str) -> Any:
        return self._json()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._json())

    def __len__(self) -> int:
        return len(self._json())

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<Iteration {self._info.run_name!r}, {self._status.name}, id {self._info.run_id}>"

    def _json(self) -> Json:
        with self._lock:
            return {
                "id": self._info.run_id,
                "name": self._info.run_name,
                "project_id": self._project_id,
                "experiment_id": self._info.experiment_id,
                "status": self._status.name,
                "path_to_model": self._model_path,
                "metrics": {key: number_json(value) for key, value in self._metrics.items()},
                "parameters": dict(self._parameters),
                "datasets": list(self._datasets),
                "started_at": moment(self._info.start_time),
                "ended_at": moment(self._ended_at),
            }

    @contextmanager
    def _writable(self) -> Iterator[None]:
        """Hold the lock while something is noted, if that is still possible."""
        with self._lock:
            if self._ended_at is not None:
                raise InvalidState(
                    f"The iteration {self._info.run_name!r} has ended, so nothing can be logged to it any more. "
                    "Start another one."
                )
            yield

    def _settle(self, status: RunStatus) -> None:
        """Decide how and when the iteration has ended, unless that is decided."""
        if self._ended_at is None:
            # The clock may have gone back since.
            self._status, self._ended_at = status, max(self._clock(), self._info.start_time)
            if self._datasets:
                self._outgoing.tags.append(Tag(USED_DATASETS, json.dumps(self._datasets)))

    def _send(self) -> None:
        self._outgoing.send(self._store, self._info.run_id)
        self._store.update_run(self._info.run_id, self._status, self._ended_at)
        self._sent = True
        refused = self._outgoing.refused
        if refused:
            shown = "; ".join(map(str, refused[:_MAX_REFUSED])) + ("; ..." if len(refused) > _MAX_REFUSED else "")
            raise InvalidParameter(
                f"The iteration {self._info.run_name!r} has ended and is in the store, but for {len(refused)} of the things "
                f"that were logged, which this store refuses: {shown}"
            )

    def _end_failed(self, error: BaseException) -> None:
        """End as failed; whatever comes of that, ``error`` is what the caller gets to see."""
        with self._lock:
            self._outgoing.tags.append(Tag(FAILURE, f"{type(error).__name__}: {error}"[:_MAX_FAILURE]))
            self._settle(RunStatus.FAILED)
            try:
                self._send()
            except StoreError as unsent:
                error.add_note(
                    str(unsent)
                    if self._sent
                    else f"The iteration {self._info.run_name!r} is not in the store either: {unsent} "
                    "Nothing of it is lost; its end_iteration() tries again."
                )
