"""Who sends a request: the check in front of every application."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable, Collection
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mistk_service.errors import MistkError, NotAuthenticated
from mistk_service.web.access.passwords import VerifiedPasswords
from mistk_service.web.access.roles import PRINCIPAL, Principal
from mistk_service.web.access.tokens import TokenFile
from mistk_service.web.refusals import ErrorAnswer, send_early

logger = logging.getLogger(__name__)

#: The paths that probes ask, which say nothing but whether the service works.
OPEN_PATHS = frozenset({"/livez", "/readyz", "/healthz", "/startupz", "/ping", "/health"})

#: The longest credentials of a user, in characters.
_LONGEST = 4096

#: How to log in; a browser that runs a page's script gets no pop-up for a password.
_CHALLENGE, _SCRIPT_CHALLENGE = 'Basic realm="mlflow", Bearer realm="mistk"', 'Bearer realm="mistk"'


class UserDirectory(Protocol):
    """Users with passwords.

    Attributes:
        verified: the credentials that were right a moment ago.
    """

    verified: VerifiedPasswords

    def verify(self, username: str, password: str) -> Principal | None:
        """Return who logs in, or None if the name or the password is wrong. Blocks."""


class Authenticator:
    """Knows the ways to log in.

    Args:
        tokens: the access tokens.

    Attributes:
        open_users: returns the users of the store; may block. None if there are none.
    """

    def __init__(self, tokens: TokenFile) -> None:
        self._tokens = tokens
        self.open_users: Callable[[], UserDirectory] | None = None
        self._users: UserDirectory | None = None

    async def principal(self, scope: Scope) -> Principal:
        """Return who sends a request.

        Raises:
            NotAuthenticated: the request has no credentials, or wrong ones.
        """
        authorization = _header(scope, b"authorization")
        if authorization is None:
            raise NotAuthenticated(
                "Log in: send the header 'Authorization: Bearer TOKEN' with a token that 'mistk-service token new' made."
            )
        scheme, _, credentials = authorization.partition(" ")
        scheme, credentials = scheme.lower(), credentials.strip()
        found = None
        if scheme == "bearer":
            found = self._tokens.find(credentials)
        elif scheme == "basic":
            found = await self._basic(credentials)
        if found is None:
            raise NotAuthenticated("The credentials of the request are wrong or have expired.")
        return found

    async def _basic(self, credentials: str) -> Principal | None:
        """Return whose name and password these are."""
        if self._users is None and self.open_users is not None:
            self._users = await asyncio.to_thread(self.open_users)
        if self._users is None or len(credentials) > _LONGEST:
            return None
        verified = self._users.verified
        if (found := verified.find(credentials)) is not None:
            return found
        try:
            username, mark, password = base64.b64decode(credentials, validate=True).decode().partition(":")
        except ValueError:
            return None
        if not mark:
            return None
        generation = verified.generation
        found = await asyncio.to_thread(self._users.verify, username, password)
        if found is not None:
            verified.add(credentials, found, generation)
        return found

    async def still(self, scope: Scope, principal: Principal) -> bool:
        """Return whether the sender of a request, which may have begun hours ago, still has the same name and role."""
        try:
            return await self.principal(scope) == principal
        except MistkError:
            return False


class Authentication:
    """ASGI middleware: passes on requests whose sender is known, and those to open paths.

    An answer that takes long, such as a watch, ends when its client's account is removed or gets another role.

    Args:
        app: gets the principal in the scope of each request.
        authenticator: knows the ways to log in.
        answer: turns an error into a response.
        open_paths: the paths that can be read without a log-in.
    """

    def __init__(
        self, app: ASGIApp, authenticator: Authenticator, answer: ErrorAnswer, open_paths: Collection[str] = OPEN_PATHS
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._answer = answer
        self._open = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or (scope["path"] in self._open and scope["method"] in ("GET", "HEAD")):
            await self._app(scope, receive, send)
            return
        try:
            principal = await self._authenticator.principal(scope)
        except MistkError as error:
            response = self._answer(error, scope)
            script = _header(scope, b"sec-fetch-mode") not in (None, "navigate")
            if response.status_code == 401:
                response.headers["WWW-Authenticate"] = _SCRIPT_CHALLENGE if script else _CHALLENGE
            await send_early(response, scope, receive, send)
            return

        ended = False

        async def checking_send(message: Message) -> None:
            nonlocal ended
            if message.get("more_body") and not await self._authenticator.still(scope, principal):
                ended = True
                await send({"type": "http.response.body", "body": b""})
                raise ConnectionError("The client's account has changed, which ends its answer.")
            await send(message)

        try:
            await self._app({**scope, PRINCIPAL: principal}, receive, checking_send)
        except Exception:
            if not ended:
                raise
            logger.info("The answer to %s ended, since its account has changed.", principal.name)


def _header(scope: Scope, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)
