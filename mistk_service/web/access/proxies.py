"""External log-ins: a reverse proxy with a shared secret, or a function of the operator."""

from __future__ import annotations

import hmac
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path

from mistk_service.errors import SettingsError
from mistk_service.web.access.roles import AccessRole, Principal

#: The headers with the shared secret, the user's name and the user's groups. No others count, since a proxy may pass them on
#: from a client.
SECRET = b"x-mistk-proxy-secret"
_USER, _GROUPS = b"x-forwarded-user", b"x-forwarded-groups"

#: The prefix of groups that give the role in the rest of their name.
_GROUP = "mistk-"

#: Returns a name and a role from the headers of a request, whose names are in lower case; None for an unknown user.
AuthFunction = Callable[[Mapping[str, str]], tuple[str, str] | None]


class TrustedProxy:
    """A proxy that logs users in and names them in headers. Its secret shows that a request comes from it.

    Args:
        secret: the shared secret.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    @classmethod
    def from_file(cls, file: str) -> TrustedProxy:
        """Return the proxy whose secret is in a file.

        Raises:
            SettingsError: the file cannot be read, or holds less than 16 characters.
        """
        try:
            secret = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"--proxy-secret-file: {file} cannot be read ({error}).") from error
        if len(secret) < 16:
            raise SettingsError(
                f"--proxy-secret-file: the secret in {file} is too short; expected at least 16 characters."
            )
        return cls(secret)

    def trusts(self, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether a request comes from the proxy."""
        return hmac.compare_digest(headers.get(SECRET, b""), self._secret)

    def principal(self, headers: Mapping[bytes, bytes]) -> Principal | None:
        """Return the sender of a request through the proxy: a viewer, or the role in the user's groups (mistk-operator)."""
        name = headers.get(_USER, b"").decode("utf-8", "replace")
        if not name or not name.isprintable():
            return None
        listed = headers.get(_GROUPS, b"").decode("latin-1")
        groups = {group.strip().removeprefix("role:") for group in listed.split(",")}
        roles = [role for role in AccessRole if f"{_GROUP}{role.label}" in groups]
        return Principal(name[:200], max(roles, default=AccessRole.VIEWER))


def load_function(reference: str) -> AuthFunction:
    """Return the function that ``module:function`` names.

    Raises:
        SettingsError: it does not exist.
    """
    module, mark, name = reference.partition(":")
    try:
        if not mark:
            raise ValueError("there is no colon")
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(
            f"--auth-function: {reference!r} cannot be used ({error}); expected module:function."
        ) from error
    function: AuthFunction = found
    return function


def principal_from(answer: tuple[str, str] | None) -> Principal | None:
    """Return the principal for a function's result.

    Raises:
        KeyError: the role is unknown.
        ValueError: the name has control characters, which could forge lines of a log.
    """
    if answer is None:
        return None
    name, role = answer
    if not name.isprintable():
        raise ValueError(f"{name[:200]!r} cannot be a name; expected printable characters.")
    return Principal(name, AccessRole[role.upper()])
