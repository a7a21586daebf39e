"""The users of a store and their permissions, in SQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Delete, Table, Update, delete, func, insert, select, update

from mistk_service.tracking.errors import ResourceExists, ResourceNotFound
from mistk_service.tracking.sql.base import SqlPart
from mistk_service.tracking.sql.tables import experiment_permissions, registered_model_permissions, users
from mistk_service.tracking.values import Grant, Permission, ResourceType, User
from mistk_service.tracking.values.limits import experiment_number

_TABLES: dict[ResourceType, tuple[Table, Any]] = {
    "experiment": (experiment_permissions, experiment_permissions.c.experiment_id),
    "registered_model": (registered_model_permissions, registered_model_permissions.c.name),
}

_WORDS: dict[ResourceType, str] = {"experiment": "Experiment", "registered_model": "Registered model"}


class Accounts(SqlPart):
    """The users of a store. The thread safety and the errors are those of the store."""

    def create_user(self, username: str, password_hash: str, *, is_admin: bool = False) -> User:
        """Create a user.

        Raises:
            ResourceExists: the name is taken.
        """

        def work(connection: Connection) -> User:
            statement = self._insert(users).values(
                username=username, password_hash=password_hash, is_admin=int(is_admin)
            )
            made = connection.execute(statement.on_conflict_do_nothing().returning(users.c.id)).first()
            if made is None:
                raise ResourceExists(f"User (username={username}) already exists.")
            return User(made[0], username, is_admin)

        return self._db.write(work)

    def get_user(self, username: str) -> User:
        """Return a user by its name.

        Raises:
            ResourceNotFound: the user does not exist.
        """
        return self.find_user(username)[0]

    def find_user(self, username: str) -> tuple[User, str]:
        """Return a user and the hash of its password; raises as :meth:`get_user`."""
        with self._db.read() as connection:
            row = connection.execute(select(users).where(users.c.username == username)).first()
        if row is None:
            raise _no_user(username)
        return User(row.id, row.username, bool(row.is_admin)), row.password_hash

    def list_users(self) -> list[User]:
        """Return all users, sorted by name."""
        with self._db.read() as connection:
            rows = connection.execute(select(users).order_by(users.c.username)).fetchall()
        return [User(row.id, row.username, bool(row.is_admin)) for row in rows]

    def has_admin(self) -> bool:
        """Return whether any user is an admin."""
        with self._db.read() as connection:
            return bool(connection.execute(select(func.count()).where(users.c.is_admin == 1)).scalar())

    def set_password(self, username: str, password_hash: str) -> None:
        """Replace the hash of a password; raises as :meth:`get_user`."""
        self._change(
            update(users).where(users.c.username == username).values(password_hash=password_hash), _no_user(username)
        )

    def set_admin(self, username: str, is_admin: bool) -> None:
        """Make a user an admin or not; raises as :meth:`get_user`."""
        self._change(
            update(users).where(users.c.username == username).values(is_admin=int(is_admin)), _no_user(username)
        )

    def delete_user(self, username: str) -> None:
        """Delete a user and its permissions; raises as :meth:`get_user`."""
        self._change(delete(users).where(users.c.username == username), _no_user(username))

    def _change(self, statement: Update | Delete, missing: ResourceNotFound) -> None:
        """Execute a statement, and raise an error if there is nothing that it changes."""

        def work(connection: Connection) -> None:
            if not connection.execute(statement).rowcount:
                raise missing

        self._db.write(work)

    def grants(self, user_id: int) -> list[Grant]:
        """Return all permissions of a user."""
        found = []
        with self._db.snapshot() as connection:
            for kind, (table, resource) in _TABLES.items():
                rows = connection.execute(select(resource, table.c.permission).where(table.c.user_id == user_id))
                found += [Grant(user_id, kind, str(key), Permission(name)) for key, name in rows.fetchall()]
        return found

    def grant(self, grant: Grant) -> None:
        """Give a user a permission.

        Raises:
            ResourceExists: the user already has one for that experiment or model.
            InvalidParameter: the id of the experiment is not valid.
            ResourceNotFound: the experiment or model does not exist.
        """
        table, resource = _TABLES[grant.resource_type]
        key = _key(grant.resource_type, grant.resource_id)

        def work(connection: Connection) -> None:
            owner = next(iter(resource.foreign_keys)).column
            if connection.execute(select(owner).where(owner == key)).first() is None:
                raise ResourceNotFound(f"{_WORDS[grant.resource_type]} with id={grant.resource_id} not found")
            if connection.execute(
                select(resource).where(*_of(grant.resource_type, grant.resource_id, grant.user_id))
            ).first():
                raise ResourceExists(
                    f"{_WORDS[grant.resource_type]} permission ({resource.name}={grant.resource_id}, "
                    f"user_id={grant.user_id}) already exists."
                )
            values = {resource.name: key, "user_id": grant.user_id, "permission": grant.permission.value}
            connection.execute(insert(table).values(values))

        self._db.write(work)

    def update_grant(self, grant: Grant) -> None:
        """Replace a permission of a user; raises as :meth:`revoke`."""
        of_grant = grant.resource_type, grant.resource_id, grant.user_id
        statement = update(_TABLES[grant.resource_type][0]).where(*_of(*of_grant))
        self._change(statement.values(permission=grant.permission.value), _no_grant(*of_grant))

    def revoke(self, user_id: int, resource_type: ResourceType, resource_id: str) -> None:
        """Remove a permission of a user.

        Raises:
            ResourceNotFound: the user has none for that experiment or model.
        """
        of_grant = resource_type, resource_id, user_id
        self._change(delete(_TABLES[resource_type][0]).where(*_of(*of_grant)), _no_grant(*of_grant))

    def get_grant(self, user_id: int, resource_type: ResourceType, resource_id: str) -> Grant:
        """Return the permission that a user was given; raises as :meth:`revoke`."""
        table, _ = _TABLES[resource_type]
        with self._db.read() as connection:
            found = select(table.c.permission).where(*_of(resource_type, resource_id, user_id))
            row = connection.execute(found).first()
        if row is None:
            raise _no_grant(resource_type, resource_id, user_id)
        return Grant(user_id, resource_type, resource_id, Permission(row[0]))


def _key(resource_type: ResourceType, resource_id: str) -> int | str:
    return experiment_number(resource_id) if resource_type == "experiment" else resource_id


def _of(resource_type: ResourceType, resource_id: str, user_id: int) -> tuple[ColumnElement[bool], ...]:
    table, resource = _TABLES[resource_type]
    return resource == _key(resource_type, resource_id), table.c.user_id == user_id


def _no_user(username: str) -> ResourceNotFound:
    return ResourceNotFound(f"User with username={username} not found")


def _no_grant(resource_type: ResourceType, resource_id: str, user_id: int) -> ResourceNotFound:
    return ResourceNotFound(
        f"{_WORDS[resource_type]} permission with resource_id={resource_id} and user_id={user_id} not found"
    )
