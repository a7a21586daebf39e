"""MLflow 3.18's roles, as far as this server has them: each user has one role with the user's permissions."""

from __future__ import annotations

from mistk_service.tracking.errors import ResourceNotFound
from mistk_service.tracking.server.operations._base import Json
from mistk_service.tracking.server.permissions import Permissions, permission_of, require_self, resource_type_of
from mistk_service.tracking.server.users import Users
from mistk_service.tracking.values import Grant, User
from mistk_service.tracking.wire import Fields

#: The only workspace.
WORKSPACE = "default"


def role_name(user: User) -> str:
    """Return MLflow's reserved name for the role of a user."""
    return f"__user_{user.id}__"


class RoleOperations:
    """The operations under ``roles/``. A role has the id of its user. Users may read their own, and admins all.

    Args:
        users: the users.
        permissions: are notified of changes.
    """

    def __init__(self, users: Users, permissions: Permissions) -> None:
        self._users = users
        self._permissions = permissions

    def list_roles(self, fields: Fields) -> Json:
        workspaces = fields.texts("workspace")
        shown = self._users.accounts.list_users() if not workspaces or WORKSPACE in workspaces else []
        return {"roles": [self._role(user) for user in shown]}

    def get_role(self, fields: Fields) -> Json:
        return {"role": self._role(self._user(fields))}

    def list_role_permissions(self, fields: Fields) -> Json:
        return {"role_permissions": self._role(self._user(fields))["permissions"]}

    def list_role_users(self, fields: Fields) -> Json:
        user = self._user(fields)
        return {"assignments": [{"id": user.id, "user_id": user.id, "role_id": user.id}]}

    def list_user_roles(self, fields: Fields) -> Json:
        user = self._users.accounts.get_user(fields.required_text("username"))
        require_self(fields, user.username)
        return {"roles": [self._role(user)]}

    def add_role_permission(self, fields: Fields) -> Json:
        """Give a user a permission."""
        user, kind = self._user(fields), resource_type_of(fields)
        resource, permission = fields.required_text("resource_pattern"), permission_of(fields)
        self._users.accounts.grant(Grant(user.id, kind, resource, permission))
        self._permissions.forget(user.id)
        made = self._role(user)["permissions"]
        wanted = {"resource_type": kind, "resource_pattern": resource}
        return {"role_permission": next(each for each in made if wanted.items() <= each.items())}

    def _user(self, fields: Fields) -> User:
        """Return the user whose role a request is about.

        Raises:
            ResourceNotFound: there is no such role.
            NotAllowed: it is another user's, and the client is not an admin.
        """
        number = fields.required_int64("role_id")
        user = next((each for each in self._users.accounts.list_users() if each.id == number), None)
        if user is None:
            raise ResourceNotFound(f"Role with id={number} not found")
        require_self(fields, user.username)
        return user

    def _role(self, user: User) -> Json:
        permissions = [
            {
                "id": number,
                "role_id": user.id,
                "resource_type": grant.resource_type,
                "resource_pattern": grant.resource_id,
                "permission": grant.permission,
            }
            for number, grant in enumerate(self._users.accounts.grants(user.id), 1)
        ]
        description = f"The permissions of {user.username}"
        return {
            "id": user.id,
            "name": role_name(user),
            "workspace": WORKSPACE,
            "description": description,
            "permissions": permissions,
        }
