"""Versions of registered models in SQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, select, update

from mistk_service.tracking.errors import InvalidParameter
from mistk_service.tracking.filters import MODEL_VERSIONS, Entity, parse_filter, parse_order
from mistk_service.tracking.sql.base import SqlPart, json_list, now
from mistk_service.tracking.sql.registry.logged_models import find_logged_model
from mistk_service.tracking.sql.registry.prompts import has_prompt_tag
from mistk_service.tracking.sql.registry.sources import Source, locate
from mistk_service.tracking.sql.registry.version_reader import (
    find_version,
    model_not_found,
    read_version,
    read_versions,
    version_number,
)
from mistk_service.tracking.sql.search.queries import Keyed, Query, Searchable
from mistk_service.tracking.sql.tables import (
    logged_model_tags,
    model_version_tags,
    model_versions,
    registered_models,
)
from mistk_service.tracking.store._models import RegistryStore
from mistk_service.tracking.values import ModelVersion, ModelVersionStatus, Tag
from mistk_service.tracking.values.changes import VersionCreated
from mistk_service.tracking.values.limits import (
    MAX_KEY,
    MAX_REGISTRY_TAG_VALUE,
    MAX_VERSIONS_PAGE,
    check_max_results,
    check_model_name,
    check_tag,
    check_tags,
    check_text,
)
from mistk_service.tracking.values.page import Page

_MAX_TEXT = 100_000
_NO_STAGE, _ARCHIVED = "None", "Archived"
_STAGES = {stage.lower(): stage for stage in (_NO_STAGE, "Staging", "Production", _ARCHIVED)}
#: The tag of a logged model that lists the versions made from it, as MLflow's UI reads it.
_MODEL_VERSIONS = "mlflow.modelVersions"
_WITH_ARCHIVING = ("Staging", "Production")

_SEARCHABLE = Searchable(
    name="model versions",
    table=model_versions,
    attributes={
        "name": model_versions.c.name,
        "run_id": model_versions.c.run_id,
        "source_path": model_versions.c.source,
        "version_number": model_versions.c.version,
        "creation_timestamp": model_versions.c.creation_timestamp,
        "last_updated_timestamp": model_versions.c.last_updated_timestamp,
    },
    headed=frozenset({"source_path"}),
    keyed={
        Entity.TAG: Keyed(model_version_tags, (("name", model_versions.c.name), ("version", model_versions.c.version)))
    },
    default=(("last_updated_timestamp", False), ("name", True), ("version_number", False)),
    appended=(("name", True), ("version_number", False)),
)


class Versions(SqlPart, RegistryStore):
    """The versions of a store's registered models."""

    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str = "",
        tags: Sequence[Tag] = (),
        run_link: str = "",
        description: str = "",
        model_id: str | None = None,
    ) -> ModelVersion:
        check_model_name(name)
        check_text(run_id, "run_id", MAX_KEY)
        check_text(model_id or "", "model_id", MAX_KEY)
        for field, text in (("source", source), ("run_link", run_link), ("description", description)):
            check_text(text, field, _MAX_TEXT)
        unique = check_tags(tags, MAX_REGISTRY_TAG_VALUE)

        def work(connection: Connection) -> ModelVersion:
            number = _next_number(connection, name)
            found = locate(connection, Source(source, run_id, model_id, has_prompt_tag(unique)))
            created = now()
            row = {
                "name": name,
                "version": number,
                "creation_timestamp": created,
                "last_updated_timestamp": created,
                "current_stage": _NO_STAGE,
                "description": description,
                "source": found.uri,
                "storage_location": found.location,
                "run_id": found.run_id,
                "run_link": run_link,
                "status": ModelVersionStatus.READY.name,
                "model_id": found.model_id,
            }
            connection.execute(self._insert(model_versions).values(**row))
            self._put_pairs(connection, model_version_tags, {"name": name, "version": number}, unique)
            if found.model_id:
                self._note_version(connection, found.model_id, name, number)
            if found.run_id:
                self._db.journal_writer.change(found.run_id, VersionCreated(name, str(number)))(connection)
            return read_version(connection, name, number)

        return self._db.write(work)

    def get_model_version(self, name: str, version: str) -> ModelVersion:
        number = _checked(name, version)
        with self._db.snapshot() as connection:
            return read_version(connection, name, number, lock=False)

    def get_download_uri(self, name: str, version: str) -> str:
        number = _checked(name, version)
        with self._db.read() as connection:
            location: str = find_version(connection, name, number, lock=False).storage_location
        return location

    def update_model_version(self, name: str, version: str, description: str | None) -> ModelVersion:
        number = _checked(name, version)
        check_text(description or "", "description", _MAX_TEXT)

        def work(connection: Connection) -> ModelVersion:
            _change(connection, name, number, description=description or "")
            return read_version(connection, name, number)

        return self._db.write(work)

    def transition_stage(self, name: str, version: str, stage: str, archive_existing: bool = False) -> ModelVersion:
        number = _checked(name, version)
        target = self.canonical_stage(stage)
        if archive_existing and target not in _WITH_ARCHIVING:
            raise InvalidParameter(
                f"Model version transition cannot archive existing model versions because '{stage}' is not an Active "
                "stage. "
                f"Valid stages are {', '.join(_WITH_ARCHIVING)}.",
                field="archive_existing_versions",
            )

        def work(connection: Connection) -> ModelVersion:
            changed = _change(connection, name, number, current_stage=target)
            if archive_existing:
                others = update(model_versions).where(
                    model_versions.c.name == name,
                    model_versions.c.version != number,
                    model_versions.c.current_stage == target,
                )
                connection.execute(others.values(current_stage=_ARCHIVED, last_updated_timestamp=changed))
            change_model(connection, name, last_updated_timestamp=changed)
            return read_version(connection, name, number)

        return self._db.write(work)

    def delete_model_version(self, name: str, version: str) -> None:
        number = _checked(name, version)

        def work(connection: Connection) -> None:
            find_version(connection, name, number)
            connection.execute(delete(model_versions).where(*_is(name, number)))
            change_model(connection, name)

        self._db.write(work)

    def search_model_versions(
        self,
        filter: str = "",
        max_results: int = 200_000,
        order_by: Sequence[str] = (),
        page_token: str | None = None,
    ) -> Page[ModelVersion]:
        check_max_results(max_results, MAX_VERSIONS_PAGE)
        query = Query(_SEARCHABLE, self._dialect)
        query.filter(parse_filter(filter, MODEL_VERSIONS))
        query.order(parse_order(order_by, MODEL_VERSIONS))
        return self._search(query, list(model_versions.c), max_results, page_token, read_versions)

    def set_model_version_tag(self, name: str, version: str, tag: Tag) -> None:
        number = _checked(name, version)
        check_tag(tag, MAX_REGISTRY_TAG_VALUE)

        def work(connection: Connection) -> None:
            find_version(connection, name, number)
            self._put_pairs(connection, model_version_tags, {"name": name, "version": number}, [tag])

        self._db.write(work)

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        number = _checked(name, version)
        check_text(key, "key")
        table = model_version_tags

        def work(connection: Connection) -> None:
            find_version(connection, name, number)
            connection.execute(delete(table).where(table.c.name == name, table.c.version == number, table.c.key == key))

        self._db.write(work)

    def _note_version(self, connection: Connection, model_id: str, name: str, number: int) -> None:
        """Add a version to the tag of the logged model that lists those made from it.

        Raises:
            ResourceNotFound: the logged model does not exist.
        """
        model = find_logged_model(connection, model_id)
        table = logged_model_tags
        tag = select(table.c.value).where(table.c.model == model.id, table.c.key == _MODEL_VERSIONS)
        versions = json_list(connection.execute(tag).scalar())
        text = json.dumps([*versions, {"name": name, "version": number}])
        self._put_pairs(connection, table, {"model": model.id}, [Tag(_MODEL_VERSIONS, text)])

    @staticmethod
    def canonical_stage(stage: str) -> str:
        """Return the canonical spelling of a stage.

        Raises:
            InvalidParameter: the stage does not exist.
        """
        try:
            return _STAGES[stage.lower()]
        except KeyError:
            raise InvalidParameter(
                f"Invalid Model Version stage: {stage[:100]}. Value must be one of {', '.join(_STAGES.values())}.",
                field="stage",
            ) from None


def _checked(name: str, version: str) -> int:
    check_model_name(name)
    return version_number(version)


def _is(name: str, number: int) -> tuple[Any, Any]:
    return model_versions.c.name == name, model_versions.c.version == number


def _change(connection: Connection, name: str, number: int, **values: Any) -> int:
    changed = now()
    statement = update(model_versions).where(*_is(name, number))
    connection.execute(statement.values(last_updated_timestamp=changed, **values))
    return changed


def change_model(connection: Connection, model: str, **values: Any) -> None:
    """Change a registered model, which gets the present time unless another one is given."""
    statement = update(registered_models).where(registered_models.c.name == model)
    connection.execute(statement.values({"last_updated_timestamp": now(), **values}))


def _next_number(connection: Connection, name: str) -> int:
    """Take the next number of a model; a counter in the model's row keeps it from being reused."""
    table = registered_models
    number: int | None = connection.execute(
        update(table)
        .where(table.c.name == name)
        .values(last_version=table.c.last_version + 1, last_updated_timestamp=now())
        .returning(table.c.last_version)
    ).scalar()
    if number is None:
        raise model_not_found(name)
    return number
