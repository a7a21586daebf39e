"""The users of a store as accounts of the server: their passwords, and the first admin."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from mistk_service.errors import ServiceBusy, SettingsError
from mistk_service.tracking.errors import InvalidParameter, NotSupported, ResourceExists, ResourceNotFound, StoreError
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.values import User
from mistk_service.web.access import AccessRole, Principal, VerifiedPasswords, hash_password, verify_password

if TYPE_CHECKING:
    from mistk_service.tracking.sql.accounts import Accounts

logger = logging.getLogger(__name__)

#: The shortest password that a user may get, in characters, and the longest name and password.
_SHORTEST, _LONGEST = 12, 512

_NAME, _PASSWORD = "MLFLOW_AUTH_ADMIN_USERNAME", "MLFLOW_AUTH_ADMIN_PASSWORD"


class Users:
    """The users of a store, and their passwords.

    Args:
        open_accounts: returns the users of the store; it may block, and raises StoreError if the store cannot be used.

    Attributes:
        verified: the credentials that were verified recently.
    """

    def __init__(self, open_accounts: Callable[[], Accounts]) -> None:
        self._open = open_accounts
        self.verified = VerifiedPasswords()

    @property
    def accounts(self) -> Accounts:
        """The users in the store."""
        return self._open()

    def verify(self, username: str, password: str) -> Principal | None:
        """Return the user with a name and a password; None if they are wrong. Takes 50 ms by design.

        Raises:
            ServiceBusy: the store cannot be read now.
        """
        try:
            user, password_hash = self.accounts.find_user(username)
        except ResourceNotFound:
            verify_password(None, password)
            return None
        except StoreError as error:
            raise ServiceBusy(f"Log-ins with a password are not possible now: {error}", retry_after=1) from error
        if len(password) > _LONGEST or not verify_password(password_hash, password):
            return None
        return Principal(user.username, AccessRole.ADMIN if user.is_admin else AccessRole.VIEWER, user.id)

    def create(self, username: str, password: str, *, is_admin: bool = False) -> User:
        """Create a user.

        Raises:
            InvalidParameter: the name or the password is not acceptable.
            ResourceExists: the name is taken.
        """
        if not username or len(username) > _LONGEST or not username.isprintable() or ":" in username:
            raise InvalidParameter(
                f"Username cannot be {username[:80]!r}; expected 1 to {_LONGEST} printable characters without a colon.",
                field="username",
            )
        check_password(password)
        return self.accounts.create_user(username, hash_password(password), is_admin=is_admin)

    def set_password(self, username: str, password: str) -> None:
        """Replace a password, which ends the log-ins with the old one; raises as :meth:`create`."""
        check_password(password)
        self.accounts.set_password(username, hash_password(password))
        self.verified.forget()

    def ensure_admin(self, environment: Mapping[str, str]) -> None:
        """Create the admin that the environment names, unless there is an admin; see MLflow's basic-auth.

        Raises:
            SettingsError: only one of the variables is set, or the password is not acceptable.
        """
        name, password = environment.get(_NAME), environment.get(_PASSWORD)
        if not name and not password:
            return
        if not name or not password:
            raise SettingsError(f"{_NAME} and {_PASSWORD} belong together; expected both or none.")
        if self.accounts.has_admin():
            return
        try:
            self.create(name, password, is_admin=True)
        except InvalidParameter as error:
            raise SettingsError(f"{_NAME}, {_PASSWORD}: {error}") from error
        except ResourceExists:
            self.accounts.set_admin(name, True)
        logger.info("The user %r is the first admin.", name)


def users_of(open_store: Callable[[], Store]) -> Users:
    """Return the users of a store in an SQL database; other stores have no users, so their methods raise an error."""

    def accounts() -> Accounts:
        # Loaded late, since SQLAlchemy takes long, and a container listens before it opens its store.
        from mistk_service.tracking.sql import SqlStore

        store = open_store()
        if not isinstance(store, SqlStore):
            raise NotSupported("This store has no users: it belongs to another server, which has its own.")
        return store.accounts

    return Users(accounts)


def check_password(password: str) -> None:
    """Refuse a password that is too short, or too long to be hashed.

    Raises:
        InvalidParameter: it is.
    """
    if not _SHORTEST <= len(password) <= _LONGEST:
        raise InvalidParameter(
            f"Password must be at least {_SHORTEST} characters long, and at most {_LONGEST}.", field="password"
        )
