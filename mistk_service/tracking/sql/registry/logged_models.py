"""Logged models in SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    Text,
    and_,
    cast,
    delete,
    literal,
    or_,
    select,
    true,
    update,
)

from mistk_service.tracking.errors import InvalidParameter, ResourceNotFound
from mistk_service.tracking.filters import LOGGED_MODELS, Comparison, Entity, Order, parse_filter, parse_order
from mistk_service.tracking.sql.base import SqlPart, below, now
from mistk_service.tracking.sql.random_names import random_name
from mistk_service.tracking.sql.registry.logged_model_reader import STATUS_WORDS, read_models
from mistk_service.tracking.sql.runs.experiments import active_experiment
from mistk_service.tracking.sql.search.queries import Keyed, Narrow, Query, Searchable
from mistk_service.tracking.sql.tables import (
    logged_model_metrics,
    logged_model_params,
    logged_model_tags,
    logged_models,
    runs,
)
from mistk_service.tracking.store._models import LoggedModelStore
from mistk_service.tracking.values import (
    Dataset,
    LifecycleStage,
    LoggedModel,
    LoggedModelOrder,
    LoggedModelStatus,
    Param,
    Tag,
)
from mistk_service.tracking.values.changes import ModelChanged
from mistk_service.tracking.values.limits import (
    MAX_KEY,
    MAX_MODELS_PAGE,
    MAX_REGISTRY_TAG_VALUE,
    check_logged_model_name,
    check_max_results,
    check_params,
    check_tags,
    check_text,
    experiment_number,
)
from mistk_service.tracking.values.page import Page

_ACTIVE, _DELETED = LifecycleStage.ACTIVE.value, LifecycleStage.DELETED.value
_MAX_NAME = 500
_MAX_ORDERS = 10

_SEARCHABLE = Searchable(
    name="logged models",
    table=logged_models,
    attributes={
        "name": logged_models.c.name,
        "model_id": logged_models.c.model_id,
        "model_type": logged_models.c.model_type,
        "status": logged_models.c.status,
        "source_run_id": logged_models.c.source_run_id,
        "artifact_uri": logged_models.c.artifact_uri,
        "experiment_id": cast(logged_models.c.experiment_id, Text),
        "lifecycle_stage": logged_models.c.lifecycle_stage,
        "status_message": logged_models.c.status_message,
        "creation_timestamp": logged_models.c.creation_timestamp,
        "last_updated_timestamp": logged_models.c.last_updated_timestamp,
    },
    order_columns={"experiment_id": logged_models.c.experiment_id},
    headed=frozenset({"name"}),
    keyed={
        Entity.METRIC: Keyed(
            logged_model_metrics,
            (("model", logged_models.c.id),),
            newest=(("timestamp", True), ("step", True), ("run_id", False), ("value", True), ("is_nan", False)),
        ),
        Entity.PARAM: Keyed(logged_model_params, (("model", logged_models.c.id),)),
        Entity.TAG: Keyed(logged_model_tags, (("model", logged_models.c.id),)),
    },
    default=(("creation_timestamp", False), ("model_id", True)),
)


class LoggedModels(SqlPart, LoggedModelStore):
    """The logged models of a store."""

    def create_logged_model(
        self,
        experiment_id: str,
        name: str = "",
        model_type: str | None = None,
        source_run_id: str | None = None,
        params: Sequence[Param] = (),
        tags: Sequence[Tag] = (),
    ) -> LoggedModel:
        check_logged_model_name(name)
        check_text(model_type or "", "model_type", _MAX_NAME)
        check_text(source_run_id or "", "source_run_id", MAX_KEY)
        all_params = check_params(params, limit=None)
        all_tags = check_tags(tags, MAX_REGISTRY_TAG_VALUE)
        model_id = f"m-{uuid4().hex}"

        def work(connection: Connection) -> LoggedModel:
            experiment = active_experiment(connection, experiment_id)
            created = now()
            insert = self._insert(logged_models).values(
                model_id=model_id,
                experiment_id=experiment.experiment_id,
                name=name or random_name(),
                artifact_uri=below(experiment.artifact_location, f"models/{model_id}/artifacts"),
                status=STATUS_WORDS[LoggedModelStatus.LOGGED_MODEL_PENDING],
                model_type=model_type,
                source_run_id=source_run_id,
                creation_timestamp=created,
                last_updated_timestamp=created,
                lifecycle_stage=_ACTIVE,
            )
            number = connection.execute(insert.returning(logged_models.c.id)).scalar_one()
            self._put_pairs(connection, logged_model_params, {"model": number}, all_params)
            self._put_pairs(connection, logged_model_tags, {"model": number}, all_tags)
            return _read(connection, model_id)

        return self._db.write(work)

    def get_logged_model(self, model_id: str) -> LoggedModel:
        check_text(model_id, "model_id")
        with self._db.snapshot() as connection:
            return _read(connection, model_id, lock=False)

    def finalize_logged_model(self, model_id: str, status: LoggedModelStatus) -> LoggedModel:
        return self._changed(model_id, lambda *_: None, status=STATUS_WORDS[status])

    def delete_logged_model(self, model_id: str) -> None:
        check_text(model_id, "model_id")

        def work(connection: Connection) -> None:
            number = find_logged_model(connection, model_id).id
            _update(connection, number, lifecycle_stage=_DELETED)

        self._db.write(work)

    def search_logged_models(
        self,
        experiment_ids: Sequence[str],
        filter: str = "",
        datasets: Sequence[Dataset] = (),
        max_results: int = 50,
        order_by: Sequence[LoggedModelOrder] = (),
        page_token: str | None = None,
    ) -> Page[LoggedModel]:
        check_max_results(max_results, MAX_MODELS_PAGE)
        numbers = sorted({experiment_number(experiment_id, "experiment_ids") for experiment_id in experiment_ids})
        query = Query(_SEARCHABLE, self._dialect)
        query.where(logged_models.c.experiment_id.in_(numbers), logged_models.c.lifecycle_stage == _ACTIVE)
        comparisons = [_with_short_status(c) for c in parse_filter(filter, LOGGED_MODELS)]
        if not all(dataset.name for dataset in datasets):
            raise InvalidParameter(
                "`dataset_name` in the `datasets` clause must be specified.", field="datasets.dataset_name"
            )
        query.filter(comparisons, _measured_on(datasets) if datasets else None)
        if datasets and not any(comparison.entity is Entity.METRIC for comparison in comparisons):
            table = logged_model_metrics
            measured = select(literal(1)).where(table.c.model == logged_models.c.id, _measured_on(datasets)(table))
            query.where(measured.correlate(logged_models).exists())
        self._order(query, order_by)
        return self._search(query, list(logged_models.c), max_results, page_token, read_models)

    def set_logged_model_tags(self, model_id: str, tags: Sequence[Tag]) -> LoggedModel:
        unique = check_tags(tags, MAX_REGISTRY_TAG_VALUE)

        def change(connection: Connection, number: int) -> None:
            self._put_pairs(connection, logged_model_tags, {"model": number}, unique)

        return self._changed(model_id, change)

    def delete_logged_model_tag(self, model_id: str, key: str) -> None:
        check_text(key, "tag_key")

        def change(connection: Connection, number: int) -> None:
            table = logged_model_tags
            statement = delete(table).where(table.c.model == number, table.c.key == key)
            if not connection.execute(statement).rowcount:
                raise ResourceNotFound(f"No tag with key {key!r} for logged model {model_id}.")

        self._changed(model_id, change)

    def log_logged_model_params(self, model_id: str, params: Sequence[Param]) -> LoggedModel:
        new = check_params(params, limit=None)

        def change(connection: Connection, number: int) -> None:
            table = logged_model_params
            there = dict(
                map(tuple, connection.execute(select(table.c.key, table.c.value).where(table.c.model == number)))
            )
            for param in new:
                if there.get(param.key, param.value) != param.value:
                    raise InvalidParameter(
                        f"Changing param values is not allowed. Param with key='{param.key}' was already logged with "
                        f"value='{there[param.key][:500]}' for the model.",
                        field=param.key,
                    )
            self._put_pairs(connection, table, {"model": number}, new)

        return self._changed(model_id, change)

    def _changed(self, model_id: str, change: Callable[[Connection, int], None], **values: Any) -> LoggedModel:
        """Change a model and its data, and return the new model."""
        check_text(model_id, "model_id")

        def work(connection: Connection) -> LoggedModel:
            model = find_logged_model(connection, model_id)
            number = model.id
            change(connection, number)
            _update(connection, number, **values)
            self._record(connection, model)
            return _read(connection, model_id)

        return self._db.write(work)

    def _record(self, connection: Connection, model: Row[Any]) -> None:
        """Add a change of a model to the journal, if a run made it: models are replicated with their runs."""
        if model.source_run_id and self._db.journal_writer.active:
            made = select(runs.c.run_id).where(runs.c.run_id == model.source_run_id)
            if connection.execute(made).first() is not None:
                self._db.journal_writer.change(model.source_run_id, ModelChanged(model.model_id))(connection)

    @staticmethod
    def _order(query: Query, keys: Sequence[LoggedModelOrder]) -> None:
        if len(keys) > _MAX_ORDERS:
            raise InvalidParameter(
                f"order_by has {len(keys)} keys; at most {_MAX_ORDERS} are allowed.", field="order_by"
            )
        orders = []
        for key in keys:
            # Parsed one by one, since one metric may occur twice, measured on two datasets.
            parsed = parse_order([key.field_name], LOGGED_MODELS)[0]
            order = Order(parsed.entity, parsed.key, key.ascending)
            if order.entity is Entity.METRIC and (key.dataset_name or key.dataset_digest):
                measured = _measured_on([Dataset(key.dataset_name or "", key.dataset_digest or "")])
                query.sort_by(order, measured, f" {key.dataset_name} {key.dataset_digest}")
            else:
                query.sort_by(order)
            orders.append(order)
        query.complete_order(orders)


def find_logged_model(connection: Connection, model_id: str, *, lock: bool = True) -> Row[Any]:
    """Return the row of a logged model; other processes cannot change it until the commit, unless ``lock`` is False.

    Raises:
        ResourceNotFound: it does not exist, or is deleted.
    """
    statement = select(logged_models).where(
        logged_models.c.model_id == model_id, logged_models.c.lifecycle_stage == _ACTIVE
    )
    row = connection.execute(statement.with_for_update(key_share=True) if lock else statement).first()
    if row is None:
        raise ResourceNotFound(f"Logged model with ID '{model_id}' not found.")
    return row


def _read(connection: Connection, model_id: str, *, lock: bool = True) -> LoggedModel:
    return read_models(connection, [find_logged_model(connection, model_id, lock=lock)])[0]


def _update(connection: Connection, number: int, **values: Any) -> None:
    statement = update(logged_models).where(logged_models.c.id == number)
    connection.execute(statement.values(last_updated_timestamp=now(), **values))


def _measured_on(datasets: Sequence[Dataset]) -> Narrow:
    """Return the condition that a metric was measured on one of the datasets; an empty field of a dataset matches any."""

    def narrow(table: FromClause) -> ColumnElement[bool]:
        choices = []
        for dataset in datasets:
            conditions: list[ColumnElement[bool]] = []
            if dataset.name:
                conditions.append(table.c.dataset_name == dataset.name)
            if dataset.digest:
                conditions.append(table.c.dataset_digest == dataset.digest)
            choices.append(and_(true(), *conditions))
        return or_(*choices)

    return narrow


def _with_short_status(comparison: Comparison) -> Comparison:
    """Accept the protocol's name of a status in filters too."""
    if comparison.entity is not Entity.ATTRIBUTE or comparison.key != "status":
        return comparison
    words = {status.name: word for status, word in STATUS_WORDS.items()}
    value = comparison.value
    if isinstance(value, tuple):
        value = tuple(words.get(str(member), str(member)) for member in value)
    elif isinstance(value, str):
        value = words.get(value, value)
    return Comparison(comparison.entity, comparison.key, comparison.comparator, value)
