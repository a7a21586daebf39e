"""Decides whether clients have to log in. Without a log-in, the server must not be reachable from other machines."""

from __future__ import annotations

import logging
from pathlib import Path

from mistk_service.errors import SettingsError
from mistk_service.web.access.audit import audit_to
from mistk_service.web.access.authentication import Authenticator
from mistk_service.web.access.proxies import TrustedProxy, load_function
from mistk_service.web.access.tokens import TokenFile
from mistk_service.web.listening import is_loopback

logger = logging.getLogger(__name__)


def open_access(
    *,
    host: str,
    auth: bool,
    insecure: bool,
    token_file: Path,
    has_users: bool = True,
    proxy_secret_file: str | None = None,
    auth_function: str | None = None,
    audit_file: str | None = None,
    root_path: str = "",
) -> Authenticator | None:
    """Return the authenticator, or None if no log-in is required. A warning is logged if other machines reach the server.

    Args:
        host: the address that the server listens on.
        auth: whether a log-in is required even if there is no access token.
        insecure: whether everyone has full access, also from other machines.
        token_file: the file of access tokens.
        has_users: whether there is a store, which may have users.
        proxy_secret_file: the file with the secret of a proxy that logs users in.
        auth_function: a function, as ``module:function``, that logs users in.
        audit_file: the file of the audit log; ``-`` for the log, None for no audit log.
        root_path: the path below which a reverse proxy serves the application.

    Raises:
        SettingsError: other machines reach the server without a log-in, or the token file cannot be read.
    """
    tokens = TokenFile(token_file)
    if audit_file is not None:
        audit_to(audit_file)
    proxy = None if proxy_secret_file is None else TrustedProxy.from_file(proxy_secret_file)
    function = None if auth_function is None else load_function(auth_function)
    others = proxy is not None or function is not None
    if auth and not len(tokens) and not has_users and not others:
        raise SettingsError(
            "--auth: no one can log in without a token. Create one: mistk-service token new NAME --role admin --token-file "
            f"{token_file}. Or serve a tracking store, which has users."
        )
    if auth or len(tokens) or others:
        return Authenticator(tokens, proxy, function, root_path)
    if is_loopback(host):
        return None
    if not insecure:
        raise SettingsError(
            f"--host: {host} can be reached from other machines, and there is no access token, so everybody could "
            "control the service. Create a token: mistk-service token new NAME --role admin --token-file "
            f"{token_file}. Or listen on 127.0.0.1, or require users of the store to log in (--auth), or allow "
            "full access without a log-in (--insecure, MISTK_INSECURE=1)."
        )
    logger.warning(
        "Listening on %s without a log-in (--insecure): everybody who reaches the port controls the service.",
        host,
    )
    return None
