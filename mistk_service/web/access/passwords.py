"""Passwords: hashing with argon2id, and a cache of verified ones, since verification is slow by design."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from functools import cache
from typing import TYPE_CHECKING

from mistk_service.web.access.roles import Principal

if TYPE_CHECKING:
    from argon2 import PasswordHasher

#: Seconds for which a verified password is cached, and the maximum number of cached ones.
_MEMORY, _KEPT = 30.0, 10_000

#: A verification takes 64 MiB, so at most two run at a time.
_slots = threading.BoundedSemaphore(2)


@cache
def _hasher() -> PasswordHasher:
    # Loaded by the first password, since most services have none.
    from argon2 import PasswordHasher

    return PasswordHasher()


def hash_password(password: str) -> str:
    """Return the hash of a password."""
    with _slots:
        return _hasher().hash(password)


@cache
def _unknown_users_hash() -> str:
    return hash_password(secrets.token_hex())


def verify_password(password_hash: str | None, password: str) -> bool:
    """Return whether a password has a hash. For an unknown user, None, it takes as long and is false."""
    from argon2.exceptions import Argon2Error, InvalidHashError

    compared = password_hash or _unknown_users_hash()
    with _slots:
        try:
            return _hasher().verify(compared, password) and password_hash is not None
        except (Argon2Error, InvalidHashError):
            return False


class VerifiedPasswords:
    """Remembers verified credentials for some seconds, by a keyed hash."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._known: dict[bytes, tuple[float, Principal]] = {}
        #: Changes when everything is forgotten.
        self.generation = 0

    def find(self, credentials: str) -> Principal | None:
        """Return the owner of recently verified credentials."""
        found = self._known.get(self._digest(credentials))
        return found[1] if found is not None and found[0] > time.monotonic() else None

    def add(self, credentials: str, principal: Principal, generation: int) -> None:
        """Remember credentials that were verified in a generation, unless a user has changed since."""
        if generation != self.generation:
            return
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[self._digest(credentials)] = time.monotonic() + _MEMORY, principal

    def forget(self) -> None:
        """Forget everything, because a user has changed."""
        self.generation += 1
        self._known.clear()

    def _digest(self, credentials: str) -> bytes:
        return hmac.digest(self._key, credentials.encode("utf-8", "replace"), hashlib.sha256)
