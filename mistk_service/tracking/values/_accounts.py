"""Users of a store, and what they may do with experiments and registered models."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

__all__ = ["Grant", "Permission", "ResourceType", "User"]

#: What permissions are given for.
ResourceType = Literal["experiment", "registered_model"]


class Permission(StrEnum):
    """What a user may do with an experiment or a registered model, in MLflow's words; each includes those above it."""

    NO_PERMISSIONS = "NO_PERMISSIONS"
    READ = "READ"
    EDIT = "EDIT"
    MANAGE = "MANAGE"

    def allows(self, needed: Permission) -> bool:
        """Return whether this permission is enough for what needs another one."""
        return _LADDER.index(self) >= _LADDER.index(needed)


_LADDER = list(Permission)


class User(msgspec.Struct, frozen=True):
    """A user of a store; its password is not part of it."""

    id: int
    username: str
    is_admin: bool


class Grant(msgspec.Struct, frozen=True):
    """A permission of a user for one experiment, by its id, or for one registered model, by its name."""

    user_id: int
    resource_type: ResourceType
    resource_id: str
    permission: Permission
