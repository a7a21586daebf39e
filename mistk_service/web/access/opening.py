"""Whether clients have to log in, and the refusal to be reachable from elsewhere if they do not."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from mistk_service.errors import SettingsError
from mistk_service.web.access.authentication import Authenticator
from mistk_service.web.access.tokens import TokenFile
from mistk_service.web.listening import is_loopback

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class AccessOptions:
    """What the options of a server say about accounts.

    Attributes:
        host: the address that the server listens on.
        auth: whether a log-in is required even if there is no access token.
        insecure: whether everybody may do everything, from other machines too.
        token_file: the file of access tokens.
        has_users: whether there is a store, which may have users.
    """

    host: str
    auth: bool
    insecure: bool
    token_file: Path
    has_users: bool = True


def open_access(options: AccessOptions) -> Authenticator | None:
    """Return what knows who sends a request, or None if nobody has to log in. The log says so if others reach the server.

    Raises:
        SettingsError: others reach the server and nobody has to log in, or the token file cannot be read.
    """
    tokens = TokenFile(options.token_file)
    if options.auth and not len(tokens) and not options.has_users:
        raise SettingsError(
            "--auth: nobody could log in. Make a token: mistk-service token new NAME --role admin --token-file "
            f"{options.token_file}. Or serve a tracking store, which has users.",
            setting="auth",
        )
    if options.auth or len(tokens):
        return Authenticator(tokens)
    if is_loopback(options.host):
        return None
    if not options.insecure:
        raise SettingsError(
            f"--host: {options.host} can be reached from other machines, and there is no access token, so everybody could "
            "control the service. Make a token: mistk-service token new NAME --role admin --token-file "
            f"{options.token_file}. Or listen on 127.0.0.1, or require users of the store to log in (--auth), or let "
            "everybody do everything (--insecure, MISTK_INSECURE=1).",
            setting="host",
        )
    logger.warning(
        "Listening on %s without a log-in (--insecure): everybody who reaches the port controls the service.",
        options.host,
    )
    return None
