"""Registered models in SQL: the models themselves, their tags and aliases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, Text, delete, literal, select, update

from mistk_service.tracking.errors import InvalidParameter, ResourceExists, ResourceNotFound
from mistk_service.tracking.filters import REGISTERED_MODELS, Entity, parse_filter, parse_order
from mistk_service.tracking.sql.base import grouped, now
from mistk_service.tracking.sql.engine.statements import ids_parameter, members
from mistk_service.tracking.sql.registry.prompts import is_prompt, without_prompts
from mistk_service.tracking.sql.registry.version_reader import (
    find_version,
    model_not_found,
    read_latest_versions,
    read_version,
    version_number,
    version_of_alias,
)
from mistk_service.tracking.sql.registry.versions import Versions, change_model
from mistk_service.tracking.sql.search.queries import Keyed, Query, Searchable
from mistk_service.tracking.sql.tables import (
    model_versions,
    registered_model_aliases,
    registered_model_tags,
    registered_models,
)
from mistk_service.tracking.values import ModelVersion, RegisteredModel, RegisteredModelAlias, Tag
from mistk_service.tracking.values.limits import (
    MAX_MODELS_PAGE,
    MAX_REGISTRY_TAG_VALUE,
    check_alias,
    check_max_results,
    check_model_name,
    check_tag,
    check_tags,
    check_text,
    is_latest,
)
from mistk_service.tracking.values.page import Page

_ARBITRARY_TEXT = 100_000

_SEARCHABLE = Searchable(
    name="registered models",
    table=registered_models,
    attributes={
        "name": registered_models.c.name,
        "last_updated_timestamp": registered_models.c.last_updated_timestamp,
    },
    keyed={Entity.TAG: Keyed(registered_model_tags, (("name", registered_models.c.name),))},
    default=(("name", True),),
)


class Registry(Versions):
    """The registered models of a store."""

    def create_registered_model(
        self,
        name: str,
        tags: Sequence[Tag] = (),
        description: str | None = None,
        deployment_job_id: str | None = None,
    ) -> RegisteredModel:
        check_model_name(name)
        check_text(description or "", "description", _ARBITRARY_TEXT)
        check_text(deployment_job_id or "", "deployment_job_id", _ARBITRARY_TEXT)
        unique = check_tags(tags, MAX_REGISTRY_TAG_VALUE)

        def work(connection: Connection) -> RegisteredModel:
            created = now()
            statement = self._insert(registered_models).values(
                name=name,
                creation_timestamp=created,
                last_updated_timestamp=created,
                description=description,
                deployment_job_id=deployment_job_id,
                last_version=0,
            )
            made = statement.on_conflict_do_nothing().returning(registered_models.c.name)
            if connection.execute(made).first() is None:
                raise _name_taken(name)
            self._put_pairs(connection, registered_model_tags, {"name": name}, unique)
            return _read_models(connection, [_find(connection, name)])[0]

        return self._db.write(work)

    def get_registered_model(self, name: str) -> RegisteredModel:
        check_model_name(name)
        with self._db.snapshot() as connection:
            return _read_models(connection, [_find(connection, name, lock=False)])[0]

    def rename_registered_model(self, name: str, new_name: str) -> RegisteredModel:
        check_model_name(name)
        check_model_name(new_name, "new_name")

        def work(connection: Connection) -> RegisteredModel:
            _find(connection, name)
            if new_name != name:
                taken = select(literal(1)).where(registered_models.c.name == new_name)
                if connection.execute(taken).first() is not None:
                    raise _name_taken(new_name)
            # Versions, tags and aliases follow by their foreign keys.
            changed = {"last_updated_timestamp": now()}
            change_model(connection, name, name=new_name, **changed)
            connection.execute(update(model_versions).where(model_versions.c.name == new_name).values(changed))
            return _read_models(connection, [_find(connection, new_name)])[0]

        return self._db.write(work)

    def update_registered_model(
        self, name: str, description: str | None, deployment_job_id: str | None = None
    ) -> RegisteredModel:
        check_model_name(name)
        check_text(description or "", "description", _ARBITRARY_TEXT)
        check_text(deployment_job_id or "", "deployment_job_id", _ARBITRARY_TEXT)
        values = {"description": description}
        if deployment_job_id is not None:
            values["deployment_job_id"] = deployment_job_id

        def work(connection: Connection) -> RegisteredModel:
            change_model(connection, name, **values)
            return _read_models(connection, [_find(connection, name)])[0]

        return self._db.write(work)

    def delete_registered_model(self, name: str) -> None:
        check_model_name(name)

        def work(connection: Connection) -> None:
            statement = delete(registered_models).where(registered_models.c.name == name)
            if not connection.execute(statement).rowcount:
                raise model_not_found(name)

        self._db.write(work)

    def search_registered_models(
        self,
        filter: str = "",
        max_results: int = 100,
        order_by: Sequence[str] = (),
        page_token: str | None = None,
    ) -> Page[RegisteredModel]:
        check_max_results(max_results, MAX_MODELS_PAGE)
        comparisons, models_only = without_prompts(parse_filter(filter, REGISTERED_MODELS))
        query = Query(_SEARCHABLE, self._dialect)
        query.filter(comparisons)
        if models_only:
            query.where(~is_prompt())
        query.order(parse_order(order_by, REGISTERED_MODELS))
        return self._search(query, list(registered_models.c), max_results, page_token, _read_models)

    def get_latest_versions(self, name: str, stages: Sequence[str] = ()) -> list[ModelVersion]:
        check_model_name(name)
        wanted = {self.canonical_stage(stage) for stage in stages}
        with self._db.snapshot() as connection:
            _find(connection, name, lock=False)
            latest = read_latest_versions(connection, [name]).get(name, [])
        return [version for version in latest if not wanted or version.current_stage in wanted]

    def set_registered_model_tag(self, name: str, tag: Tag) -> None:
        check_model_name(name)
        check_tag(tag, MAX_REGISTRY_TAG_VALUE)

        def work(connection: Connection) -> None:
            _find(connection, name)
            self._put_pairs(connection, registered_model_tags, {"name": name}, [tag])

        self._db.write(work)

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        check_model_name(name)
        check_text(key, "key")
        self._delete(name, registered_model_tags, registered_model_tags.c.key == key)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        check_model_name(name)
        check_alias(alias)
        number = version_number(version)

        def work(connection: Connection) -> None:
            find_version(connection, name, number)
            insert = self._insert(registered_model_aliases).values(name=name, alias=alias, version=number)
            connection.execute(insert.on_conflict_do_update(index_elements=["name", "alias"], set_={"version": number}))

        self._db.write(work)

    def delete_alias(self, name: str, alias: str) -> None:
        check_model_name(name)
        check_text(alias, "alias")
        self._delete(name, registered_model_aliases, registered_model_aliases.c.alias == alias)

    def _delete(self, name: str, table: Table, condition: ColumnElement[bool]) -> None:
        def work(connection: Connection) -> None:
            _find(connection, name)
            connection.execute(delete(table).where(table.c.name == name, condition))

        self._db.write(work)

    def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion:
        check_model_name(name)
        check_text(alias, "alias")
        with self._db.snapshot() as connection:
            number = version_of_alias(connection, name, alias)
            if number is None:
                _find(connection, name, lock=False)
                if is_latest(alias):
                    raise ResourceNotFound(f"Latest version not found for model {name}.")
                raise InvalidParameter(f"Registered model alias {alias} not found.", field="alias")
            return read_version(connection, name, number, lock=False)


def _read_models(connection: Connection, rows: Sequence[Row[Any]]) -> list[RegisteredModel]:
    """Return the models of rows of ``registered_models``, in the same order."""
    if not rows:
        return []
    ids = {"ids": ids_parameter(connection.dialect, [row.name for row in rows])}
    some = members(connection.dialect, kind=Text())
    table = registered_model_tags
    tags = grouped(
        connection.execute(select(table).where(table.c.name.in_(some)).order_by(*table.c), ids).fetchall(), Tag
    )
    aliases: dict[str, list[RegisteredModelAlias]] = {}
    of_models = select(registered_model_aliases).where(registered_model_aliases.c.name.in_(some))
    for name, alias, version in connection.execute(of_models.order_by(registered_model_aliases.c.alias), ids):
        aliases.setdefault(name, []).append(RegisteredModelAlias(alias, str(version)))
    latest = read_latest_versions(connection, [row.name for row in rows])
    return [
        RegisteredModel(
            name=row.name,
            creation_timestamp=row.creation_timestamp,
            last_updated_timestamp=row.last_updated_timestamp,
            description=row.description,
            latest_versions=tuple(latest.get(row.name, ())),
            tags=tags.get(row.name, ()),
            aliases=tuple(aliases.get(row.name, ())),
            deployment_job_id=row.deployment_job_id,
        )
        for row in rows
    ]


def _find(connection: Connection, name: str, *, lock: bool = True) -> Row[Any]:
    statement = select(registered_models).where(registered_models.c.name == name)
    row = connection.execute(statement.with_for_update() if lock else statement).first()
    if row is None:
        raise model_not_found(name)
    return row


def _name_taken(name: str) -> ResourceExists:
    return ResourceExists(f"Registered Model (name={name}) already exists.")
