"""Users and their permissions: MLflow's API of 2.x to 3.6, and the equivalent part of 3.18's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mistk_service.tracking.errors import InvalidParameter
from mistk_service.tracking.server.operations._base import Json
from mistk_service.tracking.server.operations.roles import WORKSPACE, role_name
from mistk_service.tracking.server.permissions import Permissions, permission_of, require_self, resource_type_of
from mistk_service.tracking.server.users import Users
from mistk_service.tracking.values import Grant, Permission, ResourceType, User
from mistk_service.tracking.wire import Fields
from mistk_service.web.access import verify_password

if TYPE_CHECKING:
    from mistk_service.tracking.sql.accounts import Accounts


class AccountOperations:
    """The operations under ``users/`` and ``.../permissions/``.

    Permissions are checked before, or here if they depend on the request.

    Args:
        users: the users.
        permissions: their permissions.
    """

    def __init__(self, users: Users, permissions: Permissions) -> None:
        self._users = users
        self._permissions = permissions

    @property
    def _accounts(self) -> Accounts:
        return self._users.accounts

    # --- users ----------------------------------------------------------------------------------------------------

    def create_user(self, fields: Fields) -> Json:
        user = self._users.create(fields.text("username") or "", fields.required_text("password"))
        return {"user": self._with_grants(user)}

    def get_user(self, fields: Fields) -> Json:
        """Get a user; only admins may get others than themselves."""
        username = fields.required_text("username")
        require_self(fields, username)
        return {"user": self._with_grants(self._accounts.get_user(username))}

    def list_users(self, fields: Fields) -> Json:  # noqa: ARG002 - all operations have the fields
        return {"users": [{**_user(user), "roles": []} for user in self._accounts.list_users()]}

    def get_current_user(self, fields: Fields) -> Json:
        principal = fields.principal
        if principal is None or principal.user_id is None:
            name = principal.name if principal else "anonymous"
            return {
                "user": {"id": 0, "username": name, "is_admin": principal is None or principal.is_admin},
                "is_basic_auth": False,
            }
        return {"user": _user(self._accounts.get_user(principal.name)), "is_basic_auth": True}

    def update_user_password(self, fields: Fields) -> Json:
        """Replace a password. Users have to send their current one."""
        username, password = fields.required_text("username"), fields.required_text("password")
        require_self(fields, username)
        if fields.principal is not None and fields.principal.name == username and fields.principal.user_id is not None:
            self._check_current(username, fields.text("current_password"), password)
        self._users.set_password(username, password)
        return {}

    def _check_current(self, username: str, current: str | None, new: str) -> None:
        if not current:
            raise InvalidParameter("Current password is required when changing your own password.")
        if not verify_password(self._accounts.find_user(username)[1], current):
            raise InvalidParameter("Current password does not match.")
        if current == new:
            raise InvalidParameter("New password must differ from the current password.")

    def update_user_admin(self, fields: Fields) -> Json:
        is_admin = fields.required("is_admin", fields.boolean("is_admin"))
        self._accounts.set_admin(fields.required_text("username"), is_admin)
        self._users.verified.forget()
        return {}

    def delete_user(self, fields: Fields) -> Json:
        username = fields.required_text("username")
        principal = fields.principal
        if principal is not None and principal.user_id is not None and principal.name == username:
            raise InvalidParameter("You cannot delete your own account.", field="username")
        user = self._accounts.get_user(username)
        self._accounts.delete_user(username)
        self._users.verified.forget()
        self._permissions.forget(user.id)
        return {}

    # --- permissions of a resource ----------------------------------------------------------------------------------

    def create_experiment_permission(self, fields: Fields) -> Json:
        return self._create(self._named(fields, "experiment", "experiment_id"))

    def get_experiment_permission(self, fields: Fields) -> Json:
        return self._get(fields, "experiment", "experiment_id")

    def update_experiment_permission(self, fields: Fields) -> Json:
        return self._update(self._named(fields, "experiment", "experiment_id"))

    def delete_experiment_permission(self, fields: Fields) -> Json:
        return self._revoke(fields, "experiment", fields.required_text("experiment_id"))

    def create_registered_model_permission(self, fields: Fields) -> Json:
        return self._create(self._named(fields, "registered_model", "name"))

    def get_registered_model_permission(self, fields: Fields) -> Json:
        return self._get(fields, "registered_model", "name")

    def update_registered_model_permission(self, fields: Fields) -> Json:
        return self._update(self._named(fields, "registered_model", "name"))

    def delete_registered_model_permission(self, fields: Fields) -> Json:
        return self._revoke(fields, "registered_model", fields.required_text("name"))

    # --- permissions of a user (3.18) -------------------------------------------------------------------------------

    def grant_user_permission(self, fields: Fields) -> Json:
        kind = resource_type_of(fields)
        self._create(self._named(fields, kind, "resource_id"))
        return {}

    def revoke_user_permission(self, fields: Fields) -> Json:
        return self._revoke(fields, resource_type_of(fields), fields.required_text("resource_id"))

    def get_user_permission(self, fields: Fields) -> Json:
        """Get a user's permission for an experiment or a model, defaults included."""
        username = fields.required_text("username")
        require_self(fields, username)
        user = self._accounts.get_user(username)
        permission = self._permissions.effective(user, resource_type_of(fields), fields.required_text("resource_id"))
        return {"allowed": permission.allows(Permission.EDIT), "permission": permission}

    def list_user_permissions(self, fields: Fields) -> Json:
        username = fields.required_text("username")
        require_self(fields, username)
        return self._listing(self._accounts.get_user(username))

    def list_current_user_permissions(self, fields: Fields) -> Json:
        principal = fields.principal
        if principal is None or principal.user_id is None:
            return {"is_admin": principal is None or principal.is_admin, "permissions": []}
        return self._listing(self._accounts.get_user(principal.name))

    def _listing(self, user: User) -> Json:
        rows = [
            {
                "role_id": user.id,
                "role_name": role_name(user),
                "workspace": WORKSPACE,
                "resource_type": grant.resource_type,
                "resource_pattern": grant.resource_id,
                "permission": grant.permission,
            }
            for grant in self._accounts.grants(user.id)
        ]
        return {"is_admin": user.is_admin, "permissions": rows}

    # --- what they share --------------------------------------------------------------------------------------------

    def _named(self, fields: Fields, kind: ResourceType, key: str) -> Grant:
        permission = permission_of(fields)
        user = self._accounts.get_user(fields.required_text("username"))
        return Grant(user.id, kind, fields.required_text(key), permission)

    def _create(self, grant: Grant) -> Json:
        self._accounts.grant(grant)
        self._permissions.forget(grant.user_id)
        return _grant(grant)

    def _get(self, fields: Fields, kind: ResourceType, key: str) -> Json:
        user = self._accounts.get_user(fields.required_text("username"))
        return _grant(self._accounts.get_grant(user.id, kind, fields.required_text(key)))

    def _update(self, grant: Grant) -> Json:
        self._accounts.update_grant(grant)
        self._permissions.forget(grant.user_id)
        return {}

    def _revoke(self, fields: Fields, kind: ResourceType, resource_id: str) -> Json:
        user = self._accounts.get_user(fields.required_text("username"))
        self._accounts.revoke(user.id, kind, resource_id)
        self._permissions.forget(user.id)
        return {}

    def _with_grants(self, user: User) -> Json:
        grants = [_grant(grant) for grant in self._accounts.grants(user.id)]
        return {
            **_user(user),
            "experiment_permissions": [g["experiment_permission"] for g in grants if "experiment_permission" in g],
            "registered_model_permissions": [
                g["registered_model_permission"] for g in grants if "registered_model_permission" in g
            ],
        }


def _user(user: User) -> Json:
    return {"id": user.id, "username": user.username, "is_admin": user.is_admin}


def _grant(grant: Grant) -> Json:
    key = "experiment_id" if grant.resource_type == "experiment" else "name"
    values = {key: grant.resource_id, "user_id": grant.user_id, "permission": grant.permission}
    return {f"{grant.resource_type}_permission": values}
