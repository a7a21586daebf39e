"""Credentials: the headers for a server, created for every request and hidden from logs and errors."""

from __future__ import annotations

import logging
import os
import re
import threading
from pathlib import Path

from mistk_service.tracking.errors import StoreUnavailable
from mistk_service.tracking.rest.config import RestConfig, basic

_log = logging.getLogger(__name__)

_TOKEN = re.compile(r"[\x21-\x7e]+")
#: What a secret is replaced with.
_HIDDEN = "***"


class Identity:
    """The headers with the credentials, and the secrets in them."""

    def __init__(self, config: RestConfig) -> None:
        self._file = _TokenFile(Path(config.token_file)) if config.token_file and not config.username else None
        self._fixed = dict(config.headers)
        if config.username and config.password:
            self._fixed["Authorization"] = f"Basic {basic(config.username, config.password)}"
        elif config.token and self._file is None:
            self._fixed["Authorization"] = f"Bearer {config.token}"
        self._secrets = config.secrets
        self._certified = bool(config.client_cert)

    @property
    def is_known(self) -> bool:
        """Whether requests have credentials."""
        return bool(self._fixed) or self._file is not None or self._certified

    def headers(self) -> dict[str, str]:
        """Return the headers for a request.

        Raises:
            StoreUnavailable: the file with the token cannot be read, and never could.
        """
        if self._file is None:
            return self._fixed
        return {**self._fixed, "Authorization": f"Bearer {self._file.token()}"}

    def renew(self) -> bool:
        """Look for a new token after one was refused, and return whether there is one."""
        return self._file is not None and self._file.renew()

    def hide(self, text: str) -> str:
        """Return a server's text without the secrets that it may repeat."""
        secrets = self._secrets if self._file is None else (*self._file.seen, *self._secrets)
        for secret in secrets:
            text = text.replace(secret, _HIDDEN)
        return text


class _TokenFile:
    """A file with a token, which another program replaces before the token expires."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._token = ""
        self._complained = False
        #: The current token and the previous one, which an answer in transit may still repeat.
        self.seen: tuple[str, ...] = ()

    def token(self) -> str:
        """Return the token, read again if the file has changed since."""
        with self._lock:
            try:
                status = os.stat(self._path)
                stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
                if stamp != self._stamp:
                    self._take(self._path.read_text(encoding="utf-8"))
                    self._stamp = stamp
            except (OSError, UnicodeDecodeError) as error:
                self._unreadable(getattr(error, "strerror", None) or "it is not text")
            return self._token

    def renew(self) -> bool:
        """Read the file even if it seems unchanged, and return whether the token is another one."""
        before = self._token
        with self._lock:
            self._stamp = None
        return self.token() != before

    def _take(self, text: str) -> None:
        token = text.strip()
        if not _TOKEN.fullmatch(token):
            # It may be about to be written.
            self._unreadable("it contains no token" if not token else "it is more than a token")
            return
        if token != self._token:
            self.seen = (token, self._token)[: 2 if self._token else 1]
        self._token = token
        self._complained = False

    def _unreadable(self, reason: str) -> None:
        if not self._token:
            raise StoreUnavailable(f"The token file {str(self._path)!r} cannot be used: {reason}.")
        if not self._complained:
            self._complained = True
            _log.warning("The token file %s cannot be used now (%s); the last token is kept.", self._path, reason)
