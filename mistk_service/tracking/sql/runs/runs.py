"""Runs in SQL: their lifecycle, tags, inputs and outputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, bindparam, delete, select, update

from mistk_service.tracking.errors import InvalidParameter, ResourceExists, ResourceNotFound
from mistk_service.tracking.sql.base import below, json_list, now
from mistk_service.tracking.sql.engine.database import Database
from mistk_service.tracking.sql.random_names import random_name
from mistk_service.tracking.sql.runs.batches import RUN_NAME, Batches, run_not_found
from mistk_service.tracking.sql.runs.chart_columns import Columns
from mistk_service.tracking.sql.runs.experiments import EXPERIMENT_COLUMNS, require_active
from mistk_service.tracking.sql.runs.histories import Histories
from mistk_service.tracking.sql.runs.reader import INPUT, OUTPUT, RUN_COLUMNS, RunReader, run_info
from mistk_service.tracking.sql.runs.search import run_query
from mistk_service.tracking.sql.tables import (
    datasets,
    experiments,
    input_tags,
    run_datasets,
    run_models,
    run_tags,
    runs,
)
from mistk_service.tracking.store._runs import RunStore
from mistk_service.tracking.values import (
    DatasetInput,
    LifecycleStage,
    Metric,
    ModelInput,
    ModelOutput,
    Param,
    Run,
    RunData,
    RunInfo,
    RunStatus,
    Tag,
    ViewType,
)
from mistk_service.tracking.values.changes import (
    InputsLogged,
    OutputsLogged,
    RunCreated,
    RunMoved,
    RunUpdated,
    TagDeleted,
)
from mistk_service.tracking.values.limits import (
    MAX_KEY,
    MAX_PAGE,
    check_dataset_inputs,
    check_int64,
    check_max_results,
    check_run_id,
    check_run_tags,
    check_text,
    experiment_number,
    last_of_each_key,
)
from mistk_service.tracking.values.page import Page

_ACTIVE, _DELETED = LifecycleStage.ACTIVE.value, LifecycleStage.DELETED.value
_MODEL_HISTORY = "mlflow.log-model.history"
_MODEL_FIELDS = ("artifact_path", "flavors", "utc_time_created", "run_id")


class Runs(Histories, Columns, RunStore):
    """The runs of a store."""

    def __init__(self, database: Database, artifact_root: str) -> None:
        super().__init__(database, artifact_root)
        self._batches = Batches(database)
        self._run_reader = RunReader(self._dialect)
        names = [column.name for column in RUN_COLUMNS[1:]]
        insert = self._insert(runs).values({name: bindparam(name) for name in names})
        self._insert_run = self._prepare(insert.returning(runs.c.id))
        self._find_experiment = self._prepare(
            select(*EXPERIMENT_COLUMNS)
            .where(experiments.c.experiment_id == bindparam("experiment"))
            .with_for_update(read=True)
        )

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
        return self._db.write(self._new_run(experiment_id, user_id, run_name, start_time, tags, run_id))

    def submit_run(
        self, experiment_id: str, user_id: str = "", run_name: str = "", start_time: int = 0, tags: Sequence[Tag] = ()
    ) -> Future[Run]:
        return self._db.submit(self._new_run(experiment_id, user_id, run_name, start_time, tags))

    def _new_run(
        self,
        experiment_id: str,
        user_id: str,
        run_name: str,
        start_time: int,
        tags: Sequence[Tag],
        given_id: str | None = None,
    ) -> Callable[[Connection], Run]:
        """Check the arguments of a new run, and return the function that creates it."""
        check_text(user_id, "user_id")
        check_int64(start_time, "start_time")
        check_text(run_name, "run_name")
        all_tags = _with_name(check_run_tags(tags, cut=False), run_name)
        if given_id is not None:
            check_run_id(given_id)
        run_id = given_id or uuid4().hex
        record = self._db.journal_writer.change(run_id, RunCreated())
        number = experiment_number(experiment_id)

        def work(connection: Connection) -> Run:
            found = self._find_experiment.rows(connection, experiment=number)
            experiment = require_active(found, experiment_id)
            if given_id is not None and self._one_run.rows(connection, run_id=given_id):
                raise ResourceExists(f"A run with the id {given_id} already exists.")
            values = {
                "run_id": run_id,
                "experiment_id": experiment.experiment_id,
                "name": next(tag.value for tag in all_tags if tag.key == RUN_NAME),
                "user_id": user_id,
                "status": RunStatus.RUNNING.name,
                "start_time": start_time,
                "end_time": None,
                "artifact_uri": below(experiment.artifact_location, f"{run_id}/artifacts"),
                "lifecycle_stage": _ACTIVE,
            }
            run = self._insert_run.rows(connection, **values)[0][0]
            rows = [(run, tag.key, tag.value) for tag in all_tags]
            self._batches.set_tag.execute_rows(connection, ("run", "key", "value"), rows)
            record(connection)
            info = run_info((run, *(values[column.name] for column in RUN_COLUMNS[1:])))
            return Run(info, RunData(tags=tuple(sorted(all_tags, key=lambda tag: tag.key))))

        return work

    def get_run(self, run_id: str) -> Run:
        check_text(run_id, "run_id")
        with self._db.snapshot() as connection:
            rows = self._one_run.rows(connection, run_id=run_id)
            if not rows:
                raise run_not_found(run_id)
            return self._run_reader.runs(connection, rows)[0]

    def update_run(
        self,
        run_id: str,
        status: RunStatus | None = None,
        end_time: int | None = None,
        run_name: str | None = None,
    ) -> RunInfo:
        check_text(run_id, "run_id")
        if end_time is not None:
            check_int64(end_time, "end_time")
        check_text(run_name or "", "run_name")
        changed: dict[str, Any] = {} if status is None else {"status": status.name}
        if end_time is not None:
            changed["end_time"] = end_time
        record = self._db.journal_writer.change(run_id, RunUpdated.of(status, end_time, run_name))

        def work(connection: Connection) -> RunInfo:
            number = self._batches.active_run(connection, run_id)
            if run_name:
                self._batches.write_tags(connection, number, [Tag(RUN_NAME, run_name)])
            if changed:
                connection.execute(update(runs).where(runs.c.id == number).values(**changed))
            record(connection)
            return run_info(self._one_run.rows(connection, run_id=run_id)[0])

        return self._db.write(work)

    def delete_run(self, run_id: str) -> None:
        self._move_run(run_id, _DELETED)

    def restore_run(self, run_id: str) -> None:
        self._move_run(run_id, _ACTIVE)

    def search_runs(
        self,
        experiment_ids: Sequence[str],
        filter: str = "",
        view_type: ViewType = ViewType.ACTIVE_ONLY,
        max_results: int = 1000,
        order_by: Sequence[str] = (),
        page_token: str | None = None,
    ) -> Page[Run]:
        check_max_results(max_results, MAX_PAGE)
        query = run_query(self._dialect, experiment_ids, filter, view_type, order_by)
        return self._search(query, RUN_COLUMNS, max_results, page_token, self._run_reader.runs)

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric] = (),
        params: Sequence[Param] = (),
        tags: Sequence[Tag] = (),
    ) -> None:
        self._db.write(self._batches.batch(run_id, metrics, params, tags))

    def submit_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric] = (),
        params: Sequence[Param] = (),
        tags: Sequence[Tag] = (),
    ) -> Future[None]:
        return self._db.submit(self._batches.batch(run_id, metrics, params, tags))

    def delete_tag(self, run_id: str, key: str) -> None:
        check_run_id(run_id)
        check_text(key, "key")
        record = self._db.journal_writer.change(run_id, TagDeleted(key))

        def work(connection: Connection) -> None:
            number = self._batches.active_run(connection, run_id)
            statement = delete(run_tags).where(run_tags.c.run == number, run_tags.c.key == key)
            if not connection.execute(statement).rowcount:
                raise ResourceNotFound(f"No tag with name: {key} in run with id {run_id}")
            record(connection)

        self._db.write(work)

    def log_inputs(self, run_id: str, datasets: Sequence[DatasetInput] = (), models: Sequence[ModelInput] = ()) -> None:
        check_run_id(run_id)
        check_dataset_inputs(datasets)
        rows = [_model_row(INPUT, model.model_id) for model in models]
        record = self._db.journal_writer.change(run_id, InputsLogged(list(datasets), list(models)))

        def work(connection: Connection) -> None:
            number = self._batches.active_run(connection, run_id)
            for use in datasets:
                self._add_dataset(connection, number, use)
            self._add_models(connection, number, rows)
            record(connection)

        self._db.write(work)

    def log_outputs(self, run_id: str, models: Sequence[ModelOutput]) -> None:
        check_run_id(run_id)
        rows = [_model_row(OUTPUT, model.model_id, model.step) for model in models]
        record = self._db.journal_writer.change(run_id, OutputsLogged(list(models)))

        def work(connection: Connection) -> None:
            number = self._batches.active_run(connection, run_id)
            self._add_models(connection, number, rows)
            record(connection)

        self._db.write(work)

    def _add_dataset(self, connection: Connection, run: int, use: DatasetInput) -> None:
        """Record that a run uses a dataset; an existing use keeps its tags."""
        item = use.dataset
        experiment = select(runs.c.experiment_id).where(runs.c.id == run).scalar_subquery()
        identity = {"name": item.name, "digest": item.digest}
        connection.execute(
            self._insert(datasets)
            .values(
                experiment_id=experiment,
                **identity,
                source_type=item.source_type,
                source=item.source,
                schema=item.schema,
                profile=item.profile,
            )
            .on_conflict_do_nothing()
        )
        number = connection.execute(
            select(datasets.c.id).where(
                datasets.c.experiment_id == experiment, *(datasets.c[key] == value for key, value in identity.items())
            )
        ).scalar_one()
        use_number = connection.execute(
            self._insert(run_datasets)
            .values(run=run, dataset_id=number)
            .on_conflict_do_nothing()
            .returning(run_datasets.c.id)
        ).scalar()
        tags = last_of_each_key(use.tags)
        if use_number is not None and tags:
            rows = [{"input_id": use_number, "key": tag.key, "value": tag.value} for tag in tags]
            connection.execute(self._insert(input_tags), rows)

    def _add_models(self, connection: Connection, run: int, rows: Sequence[dict[str, Any]]) -> None:
        """Record models of a run; existing ones are not changed."""
        if rows:
            connection.execute(self._insert(run_models).on_conflict_do_nothing(), [{"run": run, **row} for row in rows])

    def record_model(self, run_id: str, model_json: str) -> None:
        check_run_id(run_id)
        model = _model_description(model_json)

        def work(connection: Connection) -> None:
            number = self._batches.active_run(connection, run_id)
            tag = select(run_tags.c.value).where(run_tags.c.run == number, run_tags.c.key == _MODEL_HISTORY)
            history = json_list(connection.execute(tag).scalar())
            noted = [Tag(_MODEL_HISTORY, json.dumps([*history, model]))]
            self._batches.write_tags(connection, number, noted)
            self._db.journal_writer.batch(run_id, (), (), noted)(connection)

        self._db.write(work)

    def _move_run(self, run_id: str, stage: str) -> None:
        check_text(run_id, "run_id")
        record = self._db.journal_writer.change(run_id, RunMoved(LifecycleStage(stage)))

        def work(connection: Connection) -> None:
            values = {"lifecycle_stage": stage, "deleted_time": now() if stage == _DELETED else None}
            statement = update(runs).where(runs.c.run_id == run_id).values(**values)
            if not connection.execute(statement).rowcount:
                raise run_not_found(run_id)
            record(connection)

        self._db.write(work)


def _model_row(direction: str, model_id: str, step: int = 0) -> dict[str, Any]:
    """Return the row for an input or output model of a run."""
    if not check_text(model_id, "models.model_id", MAX_KEY):
        raise InvalidParameter("Missing value for required parameter 'models.model_id'.", field="models.model_id")
    return {"direction": direction, "model_id": model_id, "step": step}


def _with_name(tags: Sequence[Tag], run_name: str) -> list[Tag]:
    """Return the tags, including the one with the run's name."""
    keys = [tag.key for tag in tags]
    twice = next((key for key in keys if keys.count(key) > 1), None) if len(set(keys)) != len(keys) else None
    if twice is not None:
        raise InvalidParameter(f"The tag {twice!r} is given twice; give it once.", field="tags")
    name = next((tag.value for tag in tags if tag.key == RUN_NAME), "")
    if run_name and name and run_name != name:
        raise InvalidParameter(
            f"Both 'run_name' argument and '{RUN_NAME}' tag are specified, but with different values "
            f"({run_name!r} and {name!r}). Give one of them.",
            field="run_name",
        )
    chosen = run_name or name or random_name()
    return [*(tag for tag in tags if tag.key != RUN_NAME), Tag(RUN_NAME, chosen)]


def _model_description(model_json: str) -> dict[str, Any]:
    check_text(model_json, "model_json")
    try:
        model = json.loads(model_json)
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(
            f"Malformed model info in 'model_json': it is not JSON ({error}).", field="model_json"
        ) from error
    missing = [name for name in _MODEL_FIELDS if name not in model] if isinstance(model, dict) else list(_MODEL_FIELDS)
    if missing:
        raise InvalidParameter(f"Model json is missing mandatory fields: {', '.join(missing)}.", field="model_json")
    found: dict[str, Any] = model
    return found
