"""Access tokens: a file with their names, roles and hashes, which is read again when it changes.

Each line is ``NAME ROLE sha256:HEX``, with the date of expiry after it if there is one (ISO 8601, UTC). Lines that begin with
``#`` are comments. The file has no tokens, so its readers cannot log in with it. A hash without salt is enough for 32 random
bytes.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mistk_service.errors import SettingsError
from mistk_service.web.access.roles import AccessRole, Principal

logger = logging.getLogger(__name__)

#: The form of names of new tokens and users.
NAME = re.compile(r"[A-Za-z0-9][\w.@+-]{0,99}", re.ASCII)

_PREFIX, _SCHEME = "mistk_", "sha256:"

#: The longest token that is hashed, in characters.
_LONGEST = 512


@dataclass(frozen=True)
class _Entry:
    principal: Principal
    expires: float | None  # in seconds since 1970


class TokenFile:
    """The tokens of a file.

    Args:
        path: the file. It may be missing, which means that there are no tokens.

    Raises:
        SettingsError: the file cannot be read, or a line is malformed.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._entries: dict[bytes, _Entry] = {}
        self._stamp = self._current_stamp()
        self._entries = self._read()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, token: str) -> Principal | None:
        """Return the owner of a token, by the current content of the file; None for an unknown or expired one."""
        self._refresh()
        if len(token) > _LONGEST:
            return None
        # Looked up by its hash, so the time that this takes reveals nothing about the existing tokens.
        entry = self._entries.get(hashlib.sha256(token.encode("utf-8", "replace")).digest())
        if entry is None or (entry.expires is not None and entry.expires <= time.time()):
            return None
        return entry.principal

    def _refresh(self) -> None:
        stamp = self._current_stamp()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._entries = self._read()
            logger.info("Read %d access tokens from %s.", len(self._entries), self._path)
        except SettingsError as error:
            logger.error("The access tokens are unchanged. %s", error)

    def _current_stamp(self) -> tuple[int, ...] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        # Not the time of the content: a file that could not be read changes by getting the right owner or mode.
        return found.st_ctime_ns, found.st_size, found.st_ino

    def _read(self) -> dict[bytes, _Entry]:
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"--token-file: {self._path} cannot be read ({error}); expected a file that 'mistk-service token new' writes."
            ) from error
        entries: dict[bytes, _Entry] = {}
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            try:
                digest, entry = _parse(line)
            except (ValueError, KeyError) as error:
                raise SettingsError(
                    f"--token-file: line {number} of {self._path} cannot be read; expected NAME ROLE sha256:HEX [EXPIRY], "
                    "as 'mistk-service token new' writes it."
                ) from error
            entries[digest] = entry
        return entries


def _parse(line: str) -> tuple[bytes, _Entry]:
    name, role, digest, *rest = line.split()
    if not NAME.fullmatch(name) or not digest.startswith(_SCHEME) or len(rest) > 1:
        raise ValueError
    hashed = bytes.fromhex(digest.removeprefix(_SCHEME))
    if len(hashed) != hashlib.sha256().digest_size:
        raise ValueError
    expires = datetime.fromisoformat(rest[0]).replace(tzinfo=UTC).timestamp() if rest else None
    return hashed, _Entry(Principal(name, AccessRole[role.upper()]), expires)


def add_token(path: Path, name: str, role: AccessRole, days: int | None = None) -> str:
    """Create a token, add it to a file, and return it; it cannot be shown again.

    Args:
        path: the file, which only its owner can read if this creates it.
        name: the user of the token.
        role: its role.
        days: the number of days until it expires; None for never.

    Raises:
        SettingsError: the name is not acceptable, or the file cannot be written.
    """
    if not NAME.fullmatch(name):
        raise SettingsError(
            f"{name[:100]!r} cannot be the name of a token; expected up to 100 letters, digits and . _ @ + -."
        )
    token = _PREFIX + secrets.token_urlsafe(32)
    fields = [name, role.label, _SCHEME + hashlib.sha256(token.encode()).hexdigest()]
    if days is not None:
        fields.append((datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S"))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(" ".join(fields) + "\n")
    except OSError as error:
        raise SettingsError(
            f"--token-file: {path} cannot be written ({error.strerror}); expected a file in a folder that can be written."
        ) from error
    return token
