"""Authentication of requests, before every application."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mistk_service.errors import MistkError, NotAuthenticated
from mistk_service.web.access.passwords import VerifiedPasswords
from mistk_service.web.access.proxies import AuthFunction, TrustedProxy, principal_from
from mistk_service.web.access.request_log import ADDRESS
from mistk_service.web.access.roles import PRINCIPAL, Principal
from mistk_service.web.access.sessions import Sessions, require_own_page
from mistk_service.web.access.throttle import Throttle
from mistk_service.web.access.tokens import TokenFile
from mistk_service.web.error_responses import ErrorAnswer, send_early
from mistk_service.web.request_headers import headers_of

logger = logging.getLogger(__name__)

#: The paths of probes, which only show whether the service works and need no log-in.
_OPEN_PATHS = frozenset({"/livez", "/readyz", "/healthz", "/startupz", "/ping", "/health"})

#: Seconds between two calls of a function about the client of a long answer; files and users are checked for each part.
_FUNCTION_INTERVAL = 5.0

#: The longest credentials of a user, in characters.
_LONGEST = 4096

#: The accepted schemes. A request from a page's script gets none for a password, so that the browser opens no dialog.
_CHALLENGE, _SCRIPT_CHALLENGE = 'Basic realm="mlflow", Bearer realm="mistk"', 'Bearer realm="mistk"'


class UserDirectory(Protocol):
    """Users with passwords.

    Attributes:
        verified: the credentials that were verified recently.
    """

    verified: VerifiedPasswords

    def verify(self, username: str, password: str) -> Principal | None:
        """Return the user, or None if the name or the password is wrong. Blocks."""


class Authenticator:
    """Identifies the senders of requests.

    Args:
        tokens: the access tokens.
        proxy: a proxy that logs users in.
        function: a function that checks other credentials; it runs on a thread.
        root_path: the path below which a reverse proxy serves the application.

    Attributes:
        open_users: returns the users of the store; may block. None if there are none.
        interval: seconds between two checks of the client of a long answer.
        sessions: the sessions of browsers.
    """

    def __init__(
        self,
        tokens: TokenFile,
        proxy: TrustedProxy | None = None,
        function: AuthFunction | None = None,
        root_path: str = "",
    ) -> None:
        self._tokens = tokens
        self._proxy = proxy
        self._function = function
        self._throttle = Throttle()
        self.interval = 0.0 if function is None else _FUNCTION_INTERVAL
        self.sessions = Sessions(root_path)
        self.open_users: Callable[[], UserDirectory] | None = None
        self._users: UserDirectory | None = None
        self._verifying: dict[str, asyncio.Future[Principal | None]] = {}

    async def principal(self, scope: Scope) -> Principal:
        """Return the sender of a request.

        Raises:
            NotAuthenticated: the request has no credentials, or wrong ones; too many attempts have failed.
            NotAllowed: a browser sends it for another page.
        """
        headers = headers_of(scope)
        address = self.address(scope)
        if (given := headers.get(b"authorization")) is not None:
            try:
                return await self.identify(given.decode("latin-1"), address)
            except NotAuthenticated:
                if self._function is None:
                    raise
        elif (cookie := headers.get(b"cookie")) is not None:
            authorization = self.sessions.authorization(cookie.decode("latin-1"))
            if authorization is not None:
                require_own_page(scope)
                return await self.identify(authorization, address)
        if self._proxy is not None and self._proxy.trusts(headers):
            found = self._proxy.principal(headers)
            if found is not None:
                return found
        if self._function is not None and (found := await self._call_function(self._function, headers)) is not None:
            return found
        raise NotAuthenticated(
            "Log in: send the header 'Authorization: Bearer TOKEN' with a token from 'mistk-service token new'."
        )

    async def identify(self, authorization: str, address: str) -> Principal:
        """Return the owner of the credentials in an Authorization header.

        Args:
            authorization: the header.
            address: where the request comes from.

        Raises:
            NotAuthenticated: the credentials are wrong, or too many attempts have failed.
        """
        scheme, _, credentials = authorization.partition(" ")
        scheme, credentials = scheme.lower(), credentials.strip()
        found = None
        if scheme == "bearer":
            found = self._tokens.find(credentials)
        elif scheme == "basic":
            found = await self._basic(credentials, address)
        if found is None:
            self._throttle.check(address)
            self._throttle.failed(address)
            raise NotAuthenticated("The credentials of the request are wrong or have expired.")
        return found

    async def is_unchanged(self, scope: Scope, principal: Principal) -> bool:
        """Return whether the sender of a request, which may have begun hours ago, still has this name and role."""
        try:
            return await self.principal(scope) == principal
        except MistkError:
            return False

    async def _basic(self, credentials: str, address: str) -> Principal | None:
        """Return the user with this name and password."""
        if self._users is None and self.open_users is not None:
            self._users = await asyncio.to_thread(self.open_users)
        if self._users is None or len(credentials) > _LONGEST:
            return None
        if (found := self._users.verified.find(credentials)) is not None:
            return found
        # Concurrent requests of a client share one verification, which takes long on purpose.
        running = self._verifying.get(credentials)
        if running is None:
            running = asyncio.ensure_future(self._verify(self._users, credentials, address))
            self._verifying[credentials] = running
            running.add_done_callback(lambda _: self._verifying.pop(credentials))
        return await asyncio.shield(running)

    async def _verify(self, users: UserDirectory, credentials: str, address: str) -> Principal | None:
        try:
            username, mark, password = base64.b64decode(credentials, validate=True).decode().partition(":")
        except ValueError:
            return None
        if not mark:
            return None
        name = f"user {username}"
        self._throttle.check(address, name)
        generation = users.verified.generation
        found = await asyncio.to_thread(users.verify, username, password)
        if found is None:
            self._throttle.failed(name)
        else:
            users.verified.add(credentials, found, generation)
        return found

    async def _call_function(self, function: AuthFunction, headers: Mapping[bytes, bytes]) -> Principal | None:
        plain = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
        try:
            return principal_from(await asyncio.to_thread(function, plain))
        except Exception:  # the function is the operator's and may raise anything
            logger.exception("The function of --auth-function failed; the request is refused.")
            return None

    def address(self, scope: Scope) -> str:
        """Return the address of a request's client, from a trusted proxy if it comes through one; the logs show the same."""
        found = str((scope.get("client") or ("",))[0])
        if self._proxy is not None and self._proxy.trusts(headers := headers_of(scope)):
            forwarded = headers.get(b"x-forwarded-for", b"").decode("latin-1").rpartition(",")[2].strip()
            found = forwarded[:100] or found
        scope[ADDRESS] = found
        return found


class Authentication:
    """ASGI middleware: passes on requests whose sender is known, and those to open paths; it also serves the log-in form.

    A long response, such as a watch, ends when its client's account is removed or its role changes.

    Args:
        app: receives the principal in the scope of each request.
        authenticator: identifies the senders.
        answer: converts an error to a response.
    """

    def __init__(self, app: ASGIApp, authenticator: Authenticator, answer: ErrorAnswer) -> None:
        self._app = app
        self._authenticator = authenticator
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or (scope["path"] in _OPEN_PATHS and scope["method"] in ("GET", "HEAD")):
            await self._app(scope, receive, send)
            return
        if scope["path"] in ("/login", "/logout"):
            response = await self._session(scope, receive)
            await response(scope, receive, send)
            return
        try:
            principal = await self._authenticator.principal(scope)
        except MistkError as error:
            await send_early(self._refusal(error, scope), scope, receive, send)
            return
        scope[PRINCIPAL] = principal
        ended, checked = False, time.monotonic()

        async def checking_send(message: Message) -> None:
            nonlocal ended, checked
            is_due = message.get("more_body") and time.monotonic() >= checked + self._authenticator.interval
            if is_due and not await self._authenticator.is_unchanged(scope, principal):
                ended = True
                await send({"type": "http.response.body", "body": b""})
                raise ConnectionError("The client's account has changed, so its response ends.")
            checked = time.monotonic() if is_due else checked
            await send(message)

        try:
            await self._app(scope, receive, checking_send)
        except Exception:
            if not ended:
                raise
            logger.info("The response to %s ended, since its account has changed.", principal.name)

    def _refusal(self, error: MistkError, scope: Scope) -> Response:
        mode = headers_of(scope).get(b"sec-fetch-mode")
        if isinstance(error, NotAuthenticated) and mode == b"navigate" and scope["method"] == "GET":
            return self._authenticator.sessions.to_form(scope)
        response = self._answer(error, scope)
        if response.status_code == 401:
            response.headers["WWW-Authenticate"] = _SCRIPT_CHALLENGE if mode not in (None, b"navigate") else _CHALLENGE
        return response

    async def _session(self, scope: Scope, receive: Receive) -> Response:
        """Answer a request for the log-in form, for a log-in or for a log-out."""
        sessions = self._authenticator.sessions
        try:
            if scope["method"] != "POST":
                return sessions.form(scope)
            if scope["path"] == "/logout":
                require_own_page(scope)
                return sessions.end(scope, headers_of(scope).get(b"cookie", b"").decode("latin-1"))
            authorization = await sessions.read_form(scope, receive)
            principal = await self._authenticator.identify(authorization, self._authenticator.address(scope))
        except NotAuthenticated as error:
            status = self._answer(error, scope).status_code
            return sessions.form(scope, status, "Wrong user name, password or token." if status == 401 else str(error))
        except MistkError as error:
            return self._answer(error, scope)
        scope[PRINCIPAL] = principal
        return sessions.begin(scope, authorization)
