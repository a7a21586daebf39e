"""Requests to a remote tracking server: one pool of connections, JSON bodies, and the errors of tracking."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import msgspec

from mistk_service.tracking.errors import (
    AnswerLost,
    InvalidParameter,
    NotSupported,
    PermissionDenied,
    StoreError,
    StoreUnavailable,
    UnsupportedStore,
)
from mistk_service.tracking.rest.config import RestConfig
from mistk_service.tracking.rest.identity import Identity
from mistk_service.tracking.rest.responses import SOMETHING, About, Json, raise_for, read_object
from mistk_service.tracking.rest.urls import Addresses, origin, proxy_before, without_userinfo

#: The operations that every server of this API has; a 404 for one of them means that the address is wrong.
_ESSENTIAL = frozenset(
    {"experiments/create", "experiments/get", "experiments/get-by-name", "runs/create", "runs/get", "runs/update"}
    | {"runs/log-batch", "runs/log-metric", "runs/log-parameter", "runs/set-tag", "runs/search", "experiments/list"}
)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
#: The request cannot have had an effect when one of these is raised.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
#: Idle connections that are kept open, and for how many seconds. Less than the five after which MLflow's
#: server closes them: a request that is sent while it closes is lost, and it is unknown whether it was applied.
_LIMITS = httpx.Limits(max_connections=20, max_keepalive_connections=10, keepalive_expiry=4.0)


class _SecretUrlFilter(logging.Filter):
    """Keeps requests to other servers out of the log of httpx: their URLs authorize the request, so they are secrets."""

    def __init__(self) -> None:
        super().__init__()
        self._here = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - the thread decides
        return not getattr(self._here, "silent", False)

    @contextmanager
    def silence(self, silent: bool) -> Iterator[None]:
        self._here.silent = silent
        try:
            yield
        finally:
            self._here.silent = False


_secret_urls = _SecretUrlFilter()


class Transport:
    """Sends requests to one server. Every method may be called from any thread.

    Nothing is retried, except after a 401 if the token's file has a new token. The caller decides about other retries.

    Args:
        config: the server's address and the credentials.
        transport: instead of the network, for tests.

    Raises:
        InvalidParameter: the certificates cannot be read.
        UnsupportedStore: the environment names a proxy that cannot be used.
    """

    def __init__(self, config: RestConfig, transport: httpx.BaseTransport | None = None) -> None:
        self.config = config
        self.addresses = Addresses(config.uri, config.api_version)
        self.server = without_userinfo(config.uri)
        self._identity = Identity(config)
        self._origin = origin(config.uri)
        self.scheme = self._origin[0]
        self._closed = False
        logging.getLogger("httpx").addFilter(_secret_urls)
        tls = _tls(config)
        try:
            self._http = httpx.Client(
                verify=tls,
                timeout=config.timeout,
                limits=_LIMITS,
                transport=transport,
                follow_redirects=False,
                headers={"User-Agent": "mistk-service"},
            )
        except (ImportError, ValueError, httpx.InvalidURL):
            # Their text repeats the proxy's address, which may contain a password.
            raise UnsupportedStore(
                "The proxy of the environment (HTTP_PROXY, HTTPS_PROXY or ALL_PROXY) cannot be used; expected "
                "http://HOST:PORT, or socks5://HOST:PORT if httpx[socks] is installed. List hosts that need no proxy "
                f"in NO_PROXY, such as {self._origin[1]}."
            ) from None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.server!r})"

    def close(self) -> None:
        """Close the connections; a call that waits for an answer fails. Closing twice is allowed."""
        self._closed = True
        self._http.close()

    def get(self, endpoint: str, fields: Mapping[str, Any], about: About = SOMETHING, *, ajax: bool = False) -> Json:
        """Send a GET request, and return the JSON object of the answer.

        Args:
            endpoint: such as ``runs/get``.
            fields: the parameters; None is left out, and each item of a list becomes a parameter.
            about: the subject of the request.
            ajax: whether MLflow only serves this to its own pages.

        Raises:
            StoreError: the server, or the network in between, refuses the request.
        """
        url = self.addresses.ajax(endpoint) if ajax else self.addresses.api(endpoint)
        return self._json("GET", url, endpoint, about, query=list(_pairs(fields)))

    def post(self, endpoint: str, fields: Mapping[str, Any], about: About = SOMETHING, *, ajax: bool = False) -> Json:
        """Send a JSON object, and return that of the answer. See :meth:`get`."""
        return self.send("POST", endpoint, fields, about, ajax=ajax)

    def send(
        self, method: str, endpoint: str, fields: Mapping[str, Any], about: About = SOMETHING, *, ajax: bool = False
    ) -> Json:
        """Send a JSON object by any method. See :meth:`get`."""
        url = self.addresses.ajax(endpoint) if ajax else self.addresses.api(endpoint)
        return self._json(method, url, endpoint, about, body=_encoded(fields))

    def post_to(self, url: str, fields: Mapping[str, Any], about: About = SOMETHING, *, secret: bool = False) -> Json:
        """Send a JSON object to a URL outside of MLflow's operations; the answer may be secret.

        See :meth:`get`, and :meth:`exchange` for what is secret.
        """
        return self._json("POST", url, url, about, body=_encoded(fields), quoting=False, secret=secret)

    def has(self, endpoint: str) -> bool:
        """Return whether the server has an operation, by a POST without the required fields, which changes nothing.

        Raises:
            StoreUnavailable: the server does not answer.
            Unauthenticated: it does not accept the credentials.
        """
        try:
            self.post(endpoint, {})
        except NotSupported:
            return False
        except (InvalidParameter, PermissionDenied):
            pass
        return True

    @contextmanager
    def exchange(
        self,
        method: str,
        url: str,
        about: About,
        *,
        query: Mapping[str, str] | None = None,
        content: Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        secret: bool = False,
    ) -> Iterator[httpx.Response]:
        """Send a body other than JSON, or stream one; the answer is a success.

        A GET follows redirects to any server; credentials are only sent to the server itself.

        Args:
            method: of HTTP.
            url: a URL on this server or another one.
            about: the subject of the request.
            query: parameters.
            content: the chunks of the body.
            headers: of the body.
            secret: whether the request contains a secret, which an answer may repeat, so that no error quotes the answer.

        Raises:
            StoreError: as for :meth:`get`.
        """
        peer = f"{self.server}'s storage" if secret else self.server
        with (
            self._translated(about, peer),
            closing(self._open(method, url, query, content, headers or {}, anywhere=True)) as response,
        ):
            if not response.is_success:
                response.read()
                raise_for(response, peer, about, self._identity, essential=False, quoting=not secret)
            yield response

    def _json(
        self,
        method: str,
        url: str,
        endpoint: str,
        about: About,
        query: list[tuple[str, str]] | None = None,
        body: bytes | None = None,
        *,
        quoting: bool = True,
        secret: bool = False,
    ) -> Json:
        headers = {} if body is None else {"Content-Type": "application/json"}
        with self._translated(about, self.server), closing(self._open(method, url, query, body, headers)) as response:
            response.read()
        if response.is_success:
            return read_object(response, self.server, quoting=quoting)
        essential = endpoint in _ESSENTIAL
        raise_for(response, self.server, about, self._identity, essential=essential, quoting=not secret)

    def _open(
        self,
        method: str,
        url: str,
        query: Any,
        content: bytes | Iterable[bytes] | None,
        headers: Mapping[str, str],
        *,
        anywhere: bool = False,
    ) -> httpx.Response:
        response = self._send(method, url, query, content, headers)
        if response.status_code == 401 and (content is None or isinstance(content, bytes)) and self._identity.renew():
            response.close()
            response = self._send(method, url, query, content, headers)
        for _ in range(_MAX_REDIRECTS):
            target = _redirect(method, response)
            if target is None or not (anywhere or self._is_own(target)):
                break
            response.close()
            response = self._send(method, target, None, None, headers)
        return response

    def _send(
        self, method: str, url: str, query: Any, content: bytes | Iterable[bytes] | None, headers: Mapping[str, str]
    ) -> httpx.Response:
        if self._closed:
            raise StoreUnavailable(f"The connection to {self.server} has been closed.")
        own = self._identity.headers() if self._is_own(url) else {}
        request = self._http.build_request(
            method, url, params=query or None, content=content, headers={**own, **headers}
        )
        with _secret_urls.silence(not self._is_own(url)):
            return self._http.send(request, stream=True)

    def _is_own(self, url: str) -> bool:
        return origin(url) == self._origin

    @contextmanager
    def _translated(self, about: About, peer: str) -> Iterator[None]:
        """Translate the errors of httpx to those of tracking; their texts may repeat the request."""
        try:
            yield
        except _NEVER_SENT as error:
            way = f" through the proxy {proxy} of the environment" if (proxy := proxy_before(self.server)) else ""
            raise StoreUnavailable(f"{peer} cannot be reached{way}: {self._reason(error)}.") from self._cause(error)
        except httpx.TimeoutException as error:
            raise AnswerLost(
                f"{peer} did not answer within {self.config.timeout:g} seconds ({about.kind} {about.key!r})."
            ) from self._cause(error)
        except httpx.TransportError as error:
            raise AnswerLost(f"The connection to {peer} broke off: {self._reason(error)}.") from self._cause(error)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise StoreUnavailable(f"The communication with {peer} failed: {self._reason(error)}.") from self._cause(
                error
            )
        except RuntimeError as error:
            # httpx raises this if another thread has closed it in the meantime.
            if not self._closed or isinstance(error, StoreError):
                raise
            raise AnswerLost(f"The connection to {self.server} was closed during a call.") from error

    def _cause(self, error: Exception) -> Exception | None:
        """Return an error as the cause of another one, unless it contains a secret."""
        return error if self._identity.hide(str(error)) == str(error) else None

    def _reason(self, error: Exception) -> str:
        return self._identity.hide(str(error)).rstrip(".") or type(error).__name__


def _tls(config: RestConfig) -> ssl.SSLContext | bool:
    """Return how the server's certificate is verified."""
    if config.insecure_tls and not config.client_cert:
        return False
    try:
        context = httpx.create_ssl_context() if not config.ca_cert else _trusting(config.ca_cert)
        if config.client_cert:
            context.load_cert_chain(config.client_cert)
    except (OSError, ssl.SSLError) as error:
        raise InvalidParameter(
            f"The certificates for {config.uri} cannot be used: {error.strerror or error}. Expected PEM files at "
            f"{config.ca_cert or config.client_cert!r}.",
            field="ca_cert" if config.ca_cert else "client_cert",
        ) from error
    if config.insecure_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _trusting(path: str) -> ssl.SSLContext:
    folder = Path(path).is_dir()
    return ssl.create_default_context(cafile=None if folder else path, capath=path if folder else None)


def _redirect(method: str, response: httpx.Response) -> str | None:
    """Return the target of a redirect of a read, or None. Writes are not redirected."""
    location: str = response.headers.get("location", "")
    if method not in ("GET", "HEAD") or response.status_code not in _REDIRECTS or not location:
        return None
    return str(urljoin(str(response.url), location))


def _pairs(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        values = value if isinstance(value, list | tuple) else () if value is None else (value,)
        yield from ((name, str(each)) for each in values)


def _encoded(fields: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode({name: value for name, value in fields.items() if value is not None})
    except (UnicodeEncodeError, OverflowError, msgspec.MsgspecError) as error:
        raise InvalidParameter(f"The request cannot be written as JSON: {error}.") from error
