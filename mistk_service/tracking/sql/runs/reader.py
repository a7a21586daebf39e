"""Reading runs with everything that belongs to them: a fixed number of statements, for one run and for many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, select

from mistk_service.tracking.sql.base import grouped
from mistk_service.tracking.sql.engine.statements import Prepared, ids_parameter, members
from mistk_service.tracking.sql.tables import (
    datasets,
    input_tags,
    latest_metrics,
    params,
    run_datasets,
    run_models,
    run_tags,
    runs,
)
from mistk_service.tracking.values import (
    Dataset,
    DatasetInput,
    LifecycleStage,
    Metric,
    ModelInput,
    ModelOutput,
    Param,
    Run,
    RunData,
    RunInfo,
    RunInputs,
    RunOutputs,
    RunStatus,
    Tag,
)
from mistk_service.tracking.values.light import Pair, Point, RunDataRecord, RunInfoRecord, RunRecord

__all__ = ["INPUT", "OUTPUT", "RUN_COLUMNS", "RunReader", "run_info"]

#: The two directions of ``run_models``.
INPUT, OUTPUT = "input", "output"

_NO_INPUTS, _NO_OUTPUTS = RunInputs(), RunOutputs()

#: What :func:`run_info` needs of a row, after the run's number.
RUN_COLUMNS = (
    runs.c.id,
    runs.c.run_id,
    runs.c.name,
    runs.c.experiment_id,
    runs.c.user_id,
    runs.c.status,
    runs.c.start_time,
    runs.c.end_time,
    runs.c.artifact_uri,
    runs.c.lifecycle_stage,
)


def run_info(row: Sequence[Any]) -> RunInfo:
    """Return what a run is, from the values of ``RUN_COLUMNS``."""
    return RunInfo(
        run_id=row[1],
        run_name=row[2],
        experiment_id=str(row[3]),
        user_id=row[4],
        status=RunStatus[row[5]],
        start_time=row[6],
        end_time=row[7],
        artifact_uri=row[8],
        lifecycle_stage=LifecycleStage(row[9]),
    )


def _info_record(row: Sequence[Any]) -> RunInfoRecord:
    """Return the same in the form that costs less."""
    _, run_id, name, experiment, user, status, start, end, artifacts, stage = row[:10]
    return RunInfoRecord(run_id, run_id, name, str(experiment), user, status, start, artifacts, stage, end)


def _collected(rows: Sequence[Any], make: Callable[[str, str], Any]) -> dict[int, list[Any]]:
    """Return what is made of each owner's keys and values, from rows of (owner, key, value)."""
    found: dict[int, list[Any]] = {}
    for owner, key, value in rows:
        if owner in found:
            found[owner].append(make(key, value))
        else:
            found[owner] = [make(key, value)]
    return found


class RunReader:
    """The statements that read what belongs to runs, prepared for one database."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        some = members(dialect)
        self._metrics, self._params, self._tags, self._datasets, self._input_tags, self._models = (
            Prepared(statement, dialect)
            for statement in (
                select(
                    latest_metrics.c.run,
                    latest_metrics.c.key,
                    latest_metrics.c.value,
                    latest_metrics.c.timestamp,
                    latest_metrics.c.step,
                    latest_metrics.c.is_nan,
                )
                .where(latest_metrics.c.run.in_(some))
                .order_by(latest_metrics.c.run, latest_metrics.c.key),
                select(params).where(params.c.run.in_(some)).order_by(params.c.run, params.c.key),
                select(run_tags).where(run_tags.c.run.in_(some)).order_by(run_tags.c.run, run_tags.c.key),
                select(
                    run_datasets.c.run,
                    run_datasets.c.id,
                    datasets.c.name,
                    datasets.c.digest,
                    datasets.c.source_type,
                    datasets.c.source,
                    datasets.c.schema,
                    datasets.c.profile,
                )
                .join(datasets, datasets.c.id == run_datasets.c.dataset_id)
                .where(run_datasets.c.run.in_(some))
                .order_by(run_datasets.c.id),
                select(input_tags)
                .where(input_tags.c.input_id.in_(some))
                .order_by(input_tags.c.input_id, input_tags.c.key),
                select(run_models.c.run, run_models.c.direction, run_models.c.model_id, run_models.c.step)
                .where(run_models.c.run.in_(some))
                .order_by(run_models.c.id),
            )
        )

    def runs(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> list[Run]:
        """Return the runs of rows that begin with ``RUN_COLUMNS``, in the same order."""
        found = self._parts(connection, rows, Metric, Param, Tag)
        return [
            Run(run_info(row), RunData(*map(tuple, data)), inputs, outputs) for row, *data, inputs, outputs in found
        ]

    def records(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> list[RunRecord]:
        """Return the same runs in the form that costs less."""
        found = self._parts(connection, rows, Point, Pair, Pair)
        return [
            RunRecord(_info_record(row), RunDataRecord(metrics, params, tags), inputs, outputs)
            for row, metrics, params, tags, inputs, outputs in found
        ]

    def _parts(
        self,
        connection: Connection,
        rows: Sequence[Sequence[Any]],
        point: Callable[[str, float, int, int], Any],
        param: Callable[[str, str], Any],
        tag: Callable[[str, str], Any],
    ) -> list[tuple[Any, ...]]:
        """Return each run's row, metrics, params, tags, inputs and outputs; the first three made by the functions."""
        if not rows:
            return []
        ids = ids_parameter(self._dialect, [row[0] for row in rows])
        metrics = self._latest(connection, ids, point)
        run_params = _collected(self._params.rows(connection, ids=ids), param)
        tags = _collected(self._tags.rows(connection, ids=ids), tag)
        used = self._dataset_inputs(connection, ids)
        inputs, outputs = self._models_of(connection, ids)
        parts: list[tuple[Any, ...]] = []
        for row in rows:
            run = row[0]
            datasets, models, made = used.get(run, ()), inputs.get(run, ()), outputs.get(run, ())
            all_inputs = RunInputs(tuple(datasets), tuple(models)) if datasets or models else _NO_INPUTS
            all_outputs = RunOutputs(tuple(made)) if made else _NO_OUTPUTS
            parts.append(
                (row, metrics.get(run, []), run_params.get(run, []), tags.get(run, []), all_inputs, all_outputs)
            )
        return parts

    def _latest(
        self, connection: Connection, ids: Any, point: Callable[[str, float, int, int], Any]
    ) -> dict[int, list[Any]]:
        found: dict[int, list[Any]] = {}
        nan = float("nan")
        for run, key, value, timestamp, step, is_nan in self._metrics.rows(connection, ids=ids):
            made = point(key, nan if is_nan else value, timestamp, step)
            if run in found:
                found[run].append(made)
            else:
                found[run] = [made]
        return found

    def _dataset_inputs(self, connection: Connection, ids: Any) -> dict[int, list[DatasetInput]]:
        rows = self._datasets.rows(connection, ids=ids)
        if not rows:
            return {}
        numbers = ids_parameter(self._dialect, [row[1] for row in rows])
        tags = grouped(self._input_tags.rows(connection, ids=numbers), Tag)
        found: dict[int, list[DatasetInput]] = {}
        for run, number, *fields in rows:
            found.setdefault(run, []).append(DatasetInput(Dataset(*fields), tags.get(number, ())))
        return found

    def _models_of(
        self, connection: Connection, ids: Any
    ) -> tuple[dict[int, list[ModelInput]], dict[int, list[ModelOutput]]]:
        inputs: dict[int, list[ModelInput]] = {}
        outputs: dict[int, list[ModelOutput]] = {}
        for run, direction, model_id, step in self._models.rows(connection, ids=ids):
            if direction == INPUT:
                inputs.setdefault(run, []).append(ModelInput(model_id))
            else:
                outputs.setdefault(run, []).append(ModelOutput(model_id, step))
        return inputs, outputs
