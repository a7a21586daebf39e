"""Experiments in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from sqlalchemy import Connection, Row, Text, cast, delete, func, insert, select, update

from mistk_service.tracking.errors import InvalidParameter, InvalidState, ResourceExists, ResourceNotFound
from mistk_service.tracking.filters import EXPERIMENTS, Entity, parse_filter, parse_order
from mistk_service.tracking.sql.base import SqlPart, below, grouped, now, pairs
from mistk_service.tracking.sql.engine.statements import ids_parameter, members
from mistk_service.tracking.sql.search.queries import Keyed, Query, Searchable
from mistk_service.tracking.sql.tables import (
    datasets,
    experiment_tags,
    experiments,
    input_tags,
    run_datasets,
    runs,
)
from mistk_service.tracking.store._runs import ExperimentStore
from mistk_service.tracking.values import DatasetSummary, Experiment, LifecycleStage, Tag, ViewType
from mistk_service.tracking.values.limits import (
    MAX_DATASET_EXPERIMENTS,
    MAX_EXPERIMENT_TAG_VALUE,
    MAX_PAGE,
    check_experiment_name,
    check_max_results,
    check_tag,
    check_tags,
    check_text,
    experiment_number,
)
from mistk_service.tracking.values.page import Page

_ACTIVE, _DELETED = LifecycleStage.ACTIVE.value, LifecycleStage.DELETED.value
_CONTEXT = "mlflow.data.context"
#: Characters of an artifact location.
_MAX_LOCATION = 2048
#: Schemes that a server would have to fetch for its clients. MLflow refuses them, too.
_REFUSED_SCHEMES = frozenset({"http", "https", "ftp", "ftps"})

#: The columns that are read of an experiment before something is added to it.
EXPERIMENT_COLUMNS = (experiments.c.experiment_id, experiments.c.artifact_location, experiments.c.lifecycle_stage)

_SEARCHABLE = Searchable(
    name="experiments",
    table=experiments,
    attributes={
        "name": experiments.c.name,
        "experiment_id": cast(experiments.c.experiment_id, Text),
        "creation_time": experiments.c.creation_time,
        "last_update_time": experiments.c.last_update_time,
    },
    order_columns={"experiment_id": experiments.c.experiment_id},
    keyed={Entity.TAG: Keyed(experiment_tags, (("experiment_id", experiments.c.experiment_id),))},
    default=(("creation_time", False), ("experiment_id", True)),
    appended=(("experiment_id", False),),
)


def stages(view_type: ViewType) -> list[str]:
    """Return the lifecycle stages that a view shows."""
    return {ViewType.ACTIVE_ONLY: [_ACTIVE], ViewType.DELETED_ONLY: [_DELETED]}.get(view_type, [_ACTIVE, _DELETED])


def insert_default_experiment(connection: Connection, artifact_root: str) -> None:
    """Create the default experiment."""
    created = now()
    connection.execute(
        insert(experiments).values(
            experiment_id=0,
            name="Default",
            artifact_location=below(artifact_root, "0"),
            lifecycle_stage=_ACTIVE,
            creation_time=created,
            last_update_time=created,
        )
    )


class ActiveExperiment(NamedTuple):
    """An experiment to which something is added."""

    experiment_id: int
    artifact_location: str


class Experiments(SqlPart, ExperimentStore):
    """The experiments of a store."""

    def create_experiment(self, name: str, artifact_location: str | None = None, tags: Sequence[Tag] = ()) -> str:
        check_experiment_name(name)
        location = _checked_location(artifact_location) if artifact_location else None
        unique = check_tags(tags, MAX_EXPERIMENT_TAG_VALUE)

        def work(connection: Connection) -> str:
            created = now()
            statement = self._insert(experiments).values(
                name=name,
                artifact_location=location or "",
                lifecycle_stage=_ACTIVE,
                creation_time=created,
                last_update_time=created,
            )
            number = connection.execute(
                statement.on_conflict_do_nothing(index_elements=["name"]).returning(experiments.c.experiment_id)
            ).scalar()
            if number is None:
                raise _name_taken(connection, name)
            if location is None:
                self._change(connection, number, touch=False, artifact_location=below(self._artifact_root, str(number)))
            self._put_pairs(connection, experiment_tags, {"experiment_id": number}, unique)
            return str(number)

        return self._db.write(work)

    def get_experiment(self, experiment_id: str) -> Experiment:
        with self._db.snapshot() as connection:
            return self._with_tags(connection, _find(connection, experiment_id, lock=False))

    def get_experiment_by_name(self, name: str) -> Experiment:
        check_text(name, "experiment_name")
        with self._db.snapshot() as connection:
            row = connection.execute(select(experiments).where(experiments.c.name == name)).first()
            if row is None:
                raise ResourceNotFound(f"Could not find experiment with name '{name}'")
            return self._with_tags(connection, row)

    def search_experiments(
        self,
        view_type: ViewType = ViewType.ACTIVE_ONLY,
        max_results: int = 1000,
        filter: str = "",
        order_by: Sequence[str] = (),
        page_token: str | None = None,
    ) -> Page[Experiment]:
        check_max_results(max_results, MAX_PAGE)
        query = Query(_SEARCHABLE, self._dialect)
        query.where(experiments.c.lifecycle_stage.in_(stages(view_type)))
        query.filter(parse_filter(filter, EXPERIMENTS))
        query.order(parse_order(order_by, EXPERIMENTS))
        return self._search(query, list(experiments.c), max_results, page_token, self._with_their_tags)

    def rename_experiment(self, experiment_id: str, new_name: str) -> None:
        check_experiment_name(new_name, "new_name")

        def work(connection: Connection) -> None:
            row = _find(connection, experiment_id)
            if row.lifecycle_stage != _ACTIVE:
                raise InvalidState(f"Cannot rename a non-active experiment; experiment {experiment_id} is deleted.")
            taken = select(experiments.c.experiment_id).where(experiments.c.name == new_name)
            if connection.execute(taken).scalar() not in (None, row.experiment_id):
                raise _name_taken(connection, new_name)
            self._change(connection, row.experiment_id, name=new_name)

        self._db.write(work)

    def delete_experiment(self, experiment_id: str) -> None:
        self._db.write(lambda connection: self._move_experiment(connection, experiment_id, _ACTIVE, _DELETED))

    def restore_experiment(self, experiment_id: str) -> None:
        self._db.write(lambda connection: self._move_experiment(connection, experiment_id, _DELETED, _ACTIVE))

    def set_experiment_tag(self, experiment_id: str, tag: Tag) -> None:
        check_tag(tag, MAX_EXPERIMENT_TAG_VALUE)

        def work(connection: Connection) -> None:
            number = active_experiment(connection, experiment_id).experiment_id
            self._put_pairs(connection, experiment_tags, {"experiment_id": number}, [tag])
            self._change(connection, number)

        self._db.write(work)

    def delete_experiment_tag(self, experiment_id: str, key: str) -> None:
        check_text(key, "key")

        def work(connection: Connection) -> None:
            number = active_experiment(connection, experiment_id).experiment_id
            tag = (experiment_tags.c.experiment_id == number, experiment_tags.c.key == key)
            if not connection.execute(delete(experiment_tags).where(*tag)).rowcount:
                raise ResourceNotFound(f"No tag with name: {key} in experiment with id {experiment_id}")
            self._change(connection, number)

        self._db.write(work)

    def search_datasets(self, experiment_ids: Sequence[str]) -> list[DatasetSummary]:
        if len(experiment_ids) > MAX_DATASET_EXPERIMENTS:
            raise InvalidParameter(
                f"SearchDatasets request cannot specify more than {MAX_DATASET_EXPERIMENTS} experiment_ids. "
                f"Received {len(experiment_ids)} experiment_ids.",
                field="experiment_ids",
            )
        numbers = [experiment_number(experiment_id, "experiment_ids") for experiment_id in experiment_ids]
        context = (input_tags.c.input_id == run_datasets.c.id) & (input_tags.c.key == _CONTEXT)
        statement = (
            select(datasets.c.experiment_id, datasets.c.name, datasets.c.digest, input_tags.c.value)
            .join(run_datasets, run_datasets.c.dataset_id == datasets.c.id)
            .join(runs, (runs.c.id == run_datasets.c.run) & (runs.c.lifecycle_stage == _ACTIVE))
            .outerjoin(input_tags, context)
            .where(datasets.c.experiment_id.in_(numbers))
            .distinct()
        )
        with self._db.read() as connection:
            rows = connection.execute(statement).fetchall()
        found = [DatasetSummary(str(number), name, digest, value) for number, name, digest, value in rows]
        return sorted(found, key=lambda s: (int(s.experiment_id), s.name, s.digest, s.context or ""))

    def _with_tags(self, connection: Connection, row: Row[Any]) -> Experiment:
        tags = pairs(connection, experiment_tags, Tag, experiment_tags.c.experiment_id == row.experiment_id)
        return _experiment(row, tags)

    def _with_their_tags(self, connection: Connection, rows: Sequence[Row[Any]]) -> list[Experiment]:
        owner = experiment_tags.c.experiment_id
        statement = select(experiment_tags).where(owner.in_(members(self._dialect)))
        ids = {"ids": ids_parameter(self._dialect, [row.experiment_id for row in rows])}
        tags = grouped(connection.execute(statement.order_by(owner, experiment_tags.c.key), ids).fetchall(), Tag)
        return [_experiment(row, tags.get(row.experiment_id, ())) for row in rows]

    def _change(self, connection: Connection, number: int, *, touch: bool = True, **values: Any) -> None:
        if touch:
            values["last_update_time"] = now()
        connection.execute(update(experiments).where(experiments.c.experiment_id == number).values(**values))

    def _move_experiment(self, connection: Connection, experiment_id: str, source: str, target: str) -> None:
        row = _find(connection, experiment_id)
        if row.lifecycle_stage != source:
            raise ResourceNotFound(f"No Experiment with id={experiment_id} exists in the '{source}' state")
        self._change(connection, row.experiment_id, lifecycle_stage=target)
        number = row.experiment_id
        # Runs that were deleted before keep their time of deletion.
        deleted = func.coalesce(runs.c.deleted_time, now()) if target == _DELETED else None
        moved = update(runs).where(runs.c.experiment_id == number)
        connection.execute(moved.values(lifecycle_stage=target, deleted_time=deleted))


def _find(connection: Connection, experiment_id: str, *, lock: bool = True) -> Row[Any]:
    number = experiment_number(experiment_id)
    statement = select(experiments).where(experiments.c.experiment_id == number)
    row = connection.execute(statement.with_for_update(key_share=True) if lock else statement).first()
    if row is None:
        raise _not_found(experiment_id)
    return row


def _not_found(experiment_id: str) -> ResourceNotFound:
    return ResourceNotFound(f"No Experiment with id={experiment_id} exists")


def active_experiment(connection: Connection, experiment_id: str) -> ActiveExperiment:
    """Return an experiment to which something may be added; see :func:`require_active`."""
    statement = select(*EXPERIMENT_COLUMNS).where(experiments.c.experiment_id == experiment_number(experiment_id))
    return require_active(connection.execute(statement.with_for_update(read=True)).fetchall(), experiment_id)


def require_active(rows: Sequence[Any], experiment_id: str) -> ActiveExperiment:
    """Return an experiment from rows of ``EXPERIMENT_COLUMNS``; raise if it does not exist or is deleted."""
    if not rows:
        raise _not_found(experiment_id)
    number, location, stage = rows[0]
    if stage != _ACTIVE:
        raise InvalidParameter(
            f"The experiment {number} must be in the 'active' state. Current state is {stage}.", field="experiment_id"
        )
    return ActiveExperiment(number, location)


def _experiment(row: Row[Any], tags: tuple[Tag, ...]) -> Experiment:
    return Experiment(
        experiment_id=str(row.experiment_id),
        name=row.name,
        artifact_location=row.artifact_location,
        lifecycle_stage=LifecycleStage(row.lifecycle_stage),
        creation_time=row.creation_time,
        last_update_time=row.last_update_time,
        tags=tags,
    )


def _name_taken(connection: Connection, name: str) -> ResourceExists:
    stage = connection.execute(select(experiments.c.lifecycle_stage).where(experiments.c.name == name)).scalar()
    hint = " It is deleted; restore it, or choose another name." if stage == _DELETED else ""
    return ResourceExists(f"Experiment(name={name}) already exists.{hint}")


def _checked_location(location: str) -> str:
    """Return the artifact location of an experiment; a local path becomes absolute."""
    check_text(location, "artifact_location")
    parts = urlsplit(location)
    problem = None
    if parts.fragment or (len(location) > _MAX_LOCATION):
        problem = f"a fragment, or more than {_MAX_LOCATION} characters, cannot be part of it"
    elif ".." in unquote(unquote(parts.query)):
        problem = "its query has two dots in a row"
    elif parts.scheme in _REFUSED_SCHEMES:
        problem = f"artifacts cannot be kept at a {parts.scheme} address"
    elif ".." in unquote(unquote(parts.path)).replace("\\", "/").split("/"):
        problem = "it has a part '..'"
    if problem is not None:
        raise InvalidParameter(
            f"Invalid value {location[:200]!r} for parameter 'artifact_location' supplied: {problem}.",
            field="artifact_location",
        )
    return location if parts.scheme else str(Path(location).absolute())
