"""Principals, their roles, and the role that an operation needs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from starlette.types import Scope

#: The key of an ASGI scope under which the principal of a request is; absent if no log-in is required.
PRINCIPAL = "mistk.principal"

#: OperationIds that only read although they are sent with POST.
_READING = frozenset({"index"})

#: Words in the operationIds of operations that predict and change nothing.
_PREDICTING = ("infer", "predict", "invo", "score", "completion", "generate", "explain", "embed", "stream")


class AccessRole(IntEnum):
    """The roles of principals; each includes those below it."""

    VIEWER = 1
    PREDICTOR = 2
    OPERATOR = 3
    ADMIN = 4

    @property
    def label(self) -> str:
        """The name of the role in files and messages."""
        return self.name.lower()


@dataclass(frozen=True)
class Principal:
    """A logged-in client.

    Attributes:
        name: the name of the token or of the user; it has no control characters.
        role: its role for a container, and for tracking if it is not a user of the store.
        user_id: the id of a user of the store, whose permissions decide about tracking.
    """

    name: str
    role: AccessRole
    user_id: int | None = None

    @property
    def is_admin(self) -> bool:
        """Whether everything is allowed."""
        return self.role is AccessRole.ADMIN


def principal_of(scope: Scope) -> Principal | None:
    """Return the sender of a request, or None if no log-in is required."""
    found: Principal | None = scope.get(PRINCIPAL)
    return found


def rule_for(operation_id: str, method: str) -> AccessRole | None:
    """Return the role that an operation needs by the general rules, or None if none of them holds.

    Reading needs a viewer, predicting a predictor.
    """
    if method.upper() in ("GET", "HEAD") or operation_id in _READING:
        return AccessRole.VIEWER
    name = operation_id.lower()
    return AccessRole.PREDICTOR if any(word in name for word in _PREDICTING) else None


def role_for(operation_id: str, method: str) -> AccessRole:
    """Return the role that an operation needs by the general rules; an admin's if none of them holds."""
    return rule_for(operation_id, method) or AccessRole.ADMIN
