"""Reads runs with all their data: a fixed number of statements for any number of runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import nan
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

#: The two directions of ``run_models``.
INPUT, OUTPUT = "input", "output"

_NO_INPUTS, _NO_OUTPUTS = RunInputs(), RunOutputs()

#: The columns for :func:`run_info`, after the run's number.
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
    """Return the description of a run from the values of ``RUN_COLUMNS``."""
    _, run_id, name, experiment, user, status, start, end, artifacts, stage = row[:10]
    return RunInfo(run_id, name, str(experiment), user, RunStatus[status], start, end, artifacts, LifecycleStage(stage))


class RunReader:
    """The statements that read the data of runs, prepared for one database."""

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
        if not rows:
            return []
        ids = ids_parameter(self._dialect, [row[0] for row in rows])
        metrics = self._latest(connection, ids)
        run_params = grouped(self._params.rows(connection, ids=ids), Param)
        tags = grouped(self._tags.rows(connection, ids=ids), Tag)
        used = self._dataset_inputs(connection, ids)
        inputs, outputs = self._models_of(connection, ids)
        found = []
        for row in rows:
            run = row[0]
            data = RunData(tuple(metrics.get(run, ())), run_params.get(run, ()), tags.get(run, ()))
            datasets, models, made = used.get(run, ()), inputs.get(run, ()), outputs.get(run, ())
            all_inputs = RunInputs(tuple(datasets), tuple(models)) if datasets or models else _NO_INPUTS
            all_outputs = RunOutputs(tuple(made)) if made else _NO_OUTPUTS
            found.append(Run(run_info(row), data, all_inputs, all_outputs))
        return found

    def _latest(self, connection: Connection, ids: Any) -> dict[int, list[Metric]]:
        found: defaultdict[int, list[Metric]] = defaultdict(list)
        for run, key, value, timestamp, step, is_nan in self._metrics.rows(connection, ids=ids):
            found[run].append(Metric(key, nan if is_nan else value, timestamp, step))
        return found

    def _dataset_inputs(self, connection: Connection, ids: Any) -> dict[int, list[DatasetInput]]:
        rows = self._datasets.rows(connection, ids=ids)
        if not rows:
            return {}
        numbers = ids_parameter(self._dialect, [row[1] for row in rows])
        tags = grouped(self._input_tags.rows(connection, ids=numbers), Tag)
        found: defaultdict[int, list[DatasetInput]] = defaultdict(list)
        for run, number, *fields in rows:
            found[run].append(DatasetInput(Dataset(*fields), tags.get(number, ())))
        return found

    def _models_of(
        self, connection: Connection, ids: Any
    ) -> tuple[dict[int, list[ModelInput]], dict[int, list[ModelOutput]]]:
        inputs: defaultdict[int, list[ModelInput]] = defaultdict(list)
        outputs: defaultdict[int, list[ModelOutput]] = defaultdict(list)
        for run, direction, model_id, step in self._models.rows(connection, ids=ids):
            if direction == INPUT:
                inputs[run].append(ModelInput(model_id))
            else:
                outputs[run].append(ModelOutput(model_id, step))
        return inputs, outputs
