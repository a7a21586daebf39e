"""Reading versions of registered models with their tags and aliases: three statements for any number of versions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Table, Text, func, select, tuple_

from mistk_service.tracking.errors import InvalidParameter, ResourceNotFound
from mistk_service.tracking.sql.engine.statements import ids_parameter, members
from mistk_service.tracking.sql.tables import (
    model_version_tags,
    model_versions,
    registered_model_aliases,
)
from mistk_service.tracking.values import ModelVersion, ModelVersionStatus, Tag
from mistk_service.tracking.values.limits import is_latest

_MAX_VERSION = 2**31 - 1


def version_number(version: str) -> int:
    """Return a version as a number.

    Raises:
        InvalidParameter: it is not a number.
    """
    if version.isascii() and version.isdigit() and int(version[:11]) <= _MAX_VERSION:
        return int(version)
    raise InvalidParameter(f"Parameter 'version' must be an integer, got '{version[:100]}'.", field="version")


def model_not_found(name: str) -> ResourceNotFound:
    """Return the error for a registered model that does not exist."""
    return ResourceNotFound(f"Registered Model with name={name} not found")


def find_version(connection: Connection, name: str, number: int, *, lock: bool = True) -> Row[Any]:
    """Return the row of a version; ``lock`` keeps other processes from changing it until the commit.

    Raises:
        ResourceNotFound: the version does not exist.
    """
    statement = select(model_versions).where(model_versions.c.name == name, model_versions.c.version == number)
    row = connection.execute(statement.with_for_update(key_share=True) if lock else statement).first()
    if row is None:
        raise ResourceNotFound(f"Model Version (name={name}, version={number}) not found")
    return row


def read_version(connection: Connection, name: str, number: int, *, lock: bool = True) -> ModelVersion:
    """Return a version."""
    return read_versions(connection, [find_version(connection, name, number, lock=lock)])[0]


def version_of_alias(connection: Connection, name: str, alias: str) -> int | None:
    """Return the number that an alias points to, or None if the alias does not exist; see :func:`is_latest`."""
    table = registered_model_aliases
    found = select(table.c.version).where(table.c.name == name, table.c.alias == alias)
    if is_latest(alias):
        found = select(func.max(model_versions.c.version)).where(model_versions.c.name == name)
    number: int | None = connection.execute(found).scalar()
    return number


def read_latest_versions(connection: Connection, names: Sequence[str]) -> dict[str, list[ModelVersion]]:
    """Return the highest version of each stage of the models, by model and in the order of their numbers."""
    columns = model_versions.c
    highest = (
        select(columns.name, func.max(columns.version))
        .where(columns.name.in_(_names(connection)))
        .group_by(columns.name, columns.current_stage)
    )
    statement = select(model_versions).where(tuple_(columns.name, columns.version).in_(highest))
    rows = connection.execute(
        statement.order_by(columns.name, columns.version), {"ids": ids_parameter(connection.dialect, names)}
    )
    found: dict[str, list[ModelVersion]] = {}
    for version in read_versions(connection, rows.fetchall()):
        found.setdefault(version.name, []).append(version)
    return found


def read_versions(connection: Connection, rows: Sequence[Row[Any]]) -> list[ModelVersion]:
    """Return the versions of rows of ``model_versions``, in the same order."""
    if not rows:
        return []
    tags: dict[tuple[str, int], list[Tag]] = {}
    for name, version, key, value in _belonging(connection, model_version_tags, rows, ("key", "value")):
        tags.setdefault((name, version), []).append(Tag(key, value))
    aliases: dict[tuple[str, int], list[str]] = {}
    for name, version, alias in _belonging(connection, registered_model_aliases, rows, ("alias",)):
        aliases.setdefault((name, version), []).append(alias)
    return [
        _version(row, tags.get((row.name, row.version), ()), aliases.get((row.name, row.version), ())) for row in rows
    ]


def _belonging(connection: Connection, table: Table, rows: Sequence[Row[Any]], fields: Sequence[str]) -> Sequence[Any]:
    """Return data of the versions, and possibly of some between them."""
    numbers = [row.version for row in rows]
    columns = [table.c.name, table.c.version, *(table.c[field] for field in fields)]
    statement = (
        select(*columns)
        .where(table.c.name.in_(_names(connection)), table.c.version.between(min(numbers), max(numbers)))
        .order_by(*columns)
    )
    names = sorted({row.name for row in rows})
    return connection.execute(statement, {"ids": ids_parameter(connection.dialect, names)}).fetchall()


def _names(connection: Connection) -> Any:
    return members(connection.dialect, kind=Text())


def _version(row: Row[Any], tags: Iterable[Tag], aliases: Iterable[str]) -> ModelVersion:
    return ModelVersion(
        name=row.name,
        version=str(row.version),
        creation_timestamp=row.creation_timestamp,
        last_updated_timestamp=row.last_updated_timestamp,
        current_stage=row.current_stage,
        description=row.description,
        source=row.source,
        run_id=row.run_id,
        status=ModelVersionStatus[row.status],
        status_message=row.status_message,
        tags=tuple(tags),
        run_link=row.run_link,
        aliases=tuple(aliases),
        model_id=row.model_id,
    )
