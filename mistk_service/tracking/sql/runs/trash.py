"""Deleted items that can still be restored, and their permanent removal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection, Select, Table, and_, delete, exists, func, or_, select

from mistk_service.tracking.sql.base import SqlPart
from mistk_service.tracking.sql.outbox.tables import (
    journal,
    journal_files,
    journal_refusals,
    journal_runs,
    journal_uploads,
)
from mistk_service.tracking.sql.outbox.upload_notes import remove_uploads
from mistk_service.tracking.sql.tables import (
    datasets,
    experiment_permissions,
    experiment_tags,
    experiments,
    input_tags,
    latest_metrics,
    logged_model_metrics,
    logged_model_params,
    logged_model_tags,
    logged_models,
    metrics,
    model_versions,
    params,
    run_datasets,
    run_models,
    run_tags,
    runs,
)
from mistk_service.tracking.values import LifecycleStage
from mistk_service.tracking.values.limits import experiment_number

_DELETED = LifecycleStage.DELETED.value

RUN, MODEL, EXPERIMENT = "run", "logged model", "experiment"

#: Numbers of experiments.
_Chosen = Sequence[int] | Select[tuple[int]]


@dataclass(frozen=True, slots=True)
class TrashItem:
    """A deleted item.

    Attributes:
        kind: ``run``, ``logged model`` or ``experiment``.
        id: its id.
        name: its name.
        experiment_id: the experiment that it belongs to, or is.
        artifact_uri: where its files are.
        needed: why it cannot be removed yet, or None.
    """

    kind: str
    id: str
    name: str
    experiment_id: str
    artifact_uri: str
    needed: str | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.id} ({self.name})"


class Trash(SqlPart):
    """The deleted items of a store, runs and logged models before their experiments."""

    def items(self, before: int, experiment_ids: Sequence[str] | None = None) -> list[TrashItem]:
        """Return the deleted items.

        Args:
            before: ms since 1970; items that were deleted later are left out.
            experiment_ids: the experiments to search; None means all.
        """
        chosen: _Chosen = select(experiments.c.experiment_id)
        if experiment_ids is not None:
            chosen = [experiment_number(each) for each in experiment_ids]
        with self._db.snapshot() as connection:
            found = [*self._runs(connection, before, chosen), *self._models(connection, before, chosen)]
            return found + self._experiments(connection, before, chosen, {item.id for item in found if not item.needed})

    def remove(self, item: TrashItem) -> bool:
        """Remove an item permanently; return False if it was restored in the meantime. The caller removes its files."""
        return {RUN: self._remove_run, MODEL: self._remove_model, EXPERIMENT: self._remove_experiment}[item.kind](item)

    def still_deleted(self, item: TrashItem) -> bool:
        """Return whether an item has not been restored in the meantime."""
        table, key = {RUN: (runs, runs.c.run_id), MODEL: (logged_models, logged_models.c.model_id)}.get(
            item.kind, (experiments, experiments.c.experiment_id)
        )
        value = int(item.id) if item.kind == EXPERIMENT else item.id
        with self._db.read() as connection:
            stages = connection.execute(select(table.c.lifecycle_stage).where(key == value)).scalars().all()
            of_experiment = _stage_of_experiment(connection, item.experiment_id)
        return _DELETED in (*stages, of_experiment) if item.kind == MODEL else list(stages) == [_DELETED]

    def _runs(self, connection: Connection, before: int, chosen: _Chosen) -> list[TrashItem]:
        version = func.min(model_versions.c.name)
        made_from = select(version).where(
            or_(
                model_versions.c.run_id == runs.c.run_id,
                func.substr(model_versions.c.storage_location, 1, func.length(runs.c.artifact_uri))
                == runs.c.artifact_uri,
            )
        )
        waits = exists().where(journal.c.run_id == runs.c.run_id)
        statement = (
            select(
                runs.c.run_id,
                runs.c.name,
                runs.c.experiment_id,
                runs.c.artifact_uri,
                made_from.scalar_subquery(),
                waits,
            )
            .where(runs.c.lifecycle_stage == _DELETED, func.coalesce(runs.c.deleted_time, 0) <= before)
            .where(runs.c.experiment_id.in_(chosen))
            .order_by(runs.c.id)
        )
        return [
            TrashItem(RUN, run_id, name, str(experiment), uri, _why_needed(model, bool(waiting)))
            for run_id, name, experiment, uri, model, waiting in connection.execute(statement)
        ]

    def _models(self, connection: Connection, before: int, chosen: _Chosen) -> list[TrashItem]:
        table = logged_models
        made_from = select(func.min(model_versions.c.name)).where(model_versions.c.model_id == table.c.model_id)
        gone = and_(experiments.c.lifecycle_stage == _DELETED, experiments.c.last_update_time <= before)
        itself = and_(table.c.lifecycle_stage == _DELETED, table.c.last_updated_timestamp <= before)
        statement = (
            select(
                table.c.model_id,
                table.c.name,
                table.c.experiment_id,
                table.c.artifact_uri,
                made_from.scalar_subquery(),
            )
            .join(experiments, experiments.c.experiment_id == table.c.experiment_id)
            .where(or_(gone, itself), table.c.experiment_id.in_(chosen))
            .order_by(table.c.id)
        )
        return [
            TrashItem(MODEL, model_id, name, str(experiment), uri, _why_needed(model, waiting=False))
            for model_id, name, experiment, uri, model in connection.execute(statement)
        ]

    def _experiments(
        self, connection: Connection, before: int, chosen: _Chosen, removable: set[str]
    ) -> list[TrashItem]:
        """Return the deleted experiments; one with an item that is not ``removable`` is needed."""
        table = experiments
        statement = (
            select(table.c.experiment_id, table.c.name, table.c.artifact_location)
            .where(table.c.lifecycle_stage == _DELETED, table.c.last_update_time <= before)
            .where(table.c.experiment_id.in_(chosen))
            .order_by(table.c.experiment_id)
        )
        found = []
        for number, name, uri in connection.execute(statement).fetchall():
            members = {
                *connection.execute(select(runs.c.run_id).where(runs.c.experiment_id == number)).scalars(),
                *connection.execute(
                    select(logged_models.c.model_id).where(logged_models.c.experiment_id == number)
                ).scalars(),
            }
            needed = "it is the default experiment" if number == 0 else None
            if members - removable:
                needed = "it has items that are kept"
            found.append(TrashItem(EXPERIMENT, str(number), name, str(number), uri, needed))
        return found

    def _remove_run(self, item: TrashItem) -> bool:
        with self._db.read() as connection:
            where = (runs.c.run_id == item.id, runs.c.lifecycle_stage == _DELETED)
            number = connection.execute(select(runs.c.id).where(*where)).scalar()
            if number is None:
                return False
            keys = (
                connection.execute(select(latest_metrics.c.key).where(latest_metrics.c.run == number)).scalars().all()
            )
        # There may be millions of points: separate transactions, so that other writes do not wait for all of them.
        for key in keys:
            self._db.write(partial(_empty_points, run=number, key=key))

        def work(connection: Connection) -> bool:
            if connection.execute(select(runs.c.id).where(*where).with_for_update()).scalar() is None:
                return False
            uses = select(run_datasets.c.id).where(run_datasets.c.run == number)
            _empty(connection, input_tags, input_tags.c.input_id.in_(uses))
            for table in (metrics, latest_metrics, params, run_tags, run_datasets, run_models):
                _empty(connection, table, table.c.run == number)
            for table in (journal_runs, journal_files, journal_refusals):
                _empty(connection, table, table.c.run_id == item.id)
            remove_uploads(connection, journal_uploads.c.run_id == item.id)
            _empty(connection, runs, runs.c.id == number)
            return True

        return self._db.write(work)

    def _remove_model(self, item: TrashItem) -> bool:
        def work(connection: Connection) -> bool:
            found = connection.execute(
                select(logged_models.c.id, logged_models.c.lifecycle_stage).where(logged_models.c.model_id == item.id)
            ).first()
            if found is None or _DELETED not in (found[1], _stage_of_experiment(connection, item.experiment_id)):
                return False
            for table in (logged_model_params, logged_model_tags, logged_model_metrics):
                _empty(connection, table, table.c.model == found[0])
            _empty(connection, logged_models, logged_models.c.id == found[0])
            return True

        return self._db.write(work)

    def _remove_experiment(self, item: TrashItem) -> bool:
        number = int(item.id)

        def work(connection: Connection) -> bool:
            members = [exists().where(table.c.experiment_id == number) for table in (runs, logged_models)]
            used = connection.execute(select(or_(*members))).scalar()
            if used or _stage_of_experiment(connection, item.id) != _DELETED:
                return False
            for table in (experiment_tags, datasets, experiment_permissions, experiments):
                _empty(connection, table, table.c.experiment_id == number)
            return True

        return self._db.write(work)


def _stage_of_experiment(connection: Connection, experiment_id: str) -> str | None:
    statement = select(experiments.c.lifecycle_stage).where(experiments.c.experiment_id == int(experiment_id))
    stage: str | None = connection.execute(statement).scalar()
    return stage


def _empty(connection: Connection, table: Table, *conditions: Any) -> None:
    connection.execute(delete(table).where(*conditions))


def _empty_points(connection: Connection, run: int, key: str) -> None:
    _empty(connection, metrics, metrics.c.run == run, metrics.c.key == key)


def _why_needed(model: str | None, waiting: bool) -> str | None:
    if model is not None:
        return f"a version of the model {model!r} was made from it"
    return "a remote has yet to receive its last changes" if waiting else None
