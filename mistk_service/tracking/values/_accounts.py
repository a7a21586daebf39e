"""Users of a store, and what they may do with experiments and registered models."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

__all__ = ["Grant", "Permission", "ResourceType", "User"]

#: The resources that permissions apply to.
ResourceType = Literal["experiment", "registered_model"]


class Permission(StrEnum):
    """MLflow's permissions for an experiment or a registered model; each includes those above it."""

    NO_PERMISSIONS = "NO_PERMISSIONS"
    READ = "READ"
    EDIT = "EDIT"
    MANAGE = "MANAGE"

    def allows(self, needed: Permission) -> bool:
        """Return whether this permission includes another one."""
        return _LADDER.index(self) >= _LADDER.index(needed)


_LADDER = list(Permission)


class User(msgspec.Struct, frozen=True):
    """A user of a store; its password is not part of it.

    Attributes:
        id: identifies the user in the store.
        username: the name, as the user logs in with it.
        is_admin: whether everything is allowed.
    """

    id: int
    username: str
    is_admin: bool


class Grant(msgspec.Struct, frozen=True):
    """A permission of a user for one experiment or one registered model.

    Attributes:
        user_id: the id of the user.
        resource_type: the type of the resource.
        resource_id: the id of the experiment, or the name of the registered model.
        permission: the permission.
    """

    user_id: int
    resource_type: ResourceType
    resource_id: str
    permission: Permission
