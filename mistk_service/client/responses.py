"""The responses of a service as values and errors: the boundary between HTTP and the client."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx

from mistk_service.errors import (
    AnswerNotUnderstood,
    ErrorAnswer,
    InvalidRequest,
    RequestFailed,
    RequestRefused,
    ServiceUnreachable,
)
from mistk_service.kinds.kind import LOGIN_VARIABLE

T = TypeVar("T")

_TOKEN = re.compile(r"[\x21-\x7e]+")

#: Characters that are quoted of a response that is not understood.
_QUOTED = 200


def parse_base_url(text: str, base_path: str) -> httpx.URL:
    """Return the URL of a service without the base path of the API, which is optional.

    Raises:
        InvalidRequest: the text is not such a URL.
    """
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, TypeError):
        url = httpx.URL("")
    usable = url.scheme in {"http", "https"} and url.host and (url.port or 1) < 65536
    if not usable or url.query or url.fragment:
        # The text itself is not repeated: it may contain a password.
        raise InvalidRequest(
            "base_url: expected the address of a model container, such as http://localhost:8080.",
            field="base_url",
        )
    return url.copy_with(path=url.path.rstrip("/").removesuffix(base_path) or "/")


def authorization(url: httpx.URL) -> str | None:
    """Return the header with the credentials in a URL, or else with the token in the environment.

    Raises:
        InvalidRequest: the token cannot be sent.
    """
    if url.username:
        return "Basic " + base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
    token = url.password or os.environ.get(LOGIN_VARIABLE, "").strip()
    if token and not _TOKEN.fullmatch(token):
        # HTTP libraries would quote it.
        raise InvalidRequest(
            f"The token in the URL or in {LOGIN_VARIABLE} has characters that HTTP does not allow; expected ASCII.",
            field="base_url",
        )
    return f"Bearer {token}" if token else None


def shown(url: httpx.URL | str) -> str:
    """Return ``url`` for messages: without credentials and without the query, which may hold some too."""
    return str(httpx.URL(url).copy_with(userinfo=b"", query=None))


@contextmanager
def unreachable(method: str, url: httpx.URL | str, timeout: float | None) -> Iterator[None]:
    """Translate the errors of httpx to ServiceUnreachable."""
    where = shown(url)
    limit = "in time" if timeout is None else f"within {timeout:g} s"
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise ServiceUnreachable(f"No connection to {where} {limit}.", url=where) from error
    except httpx.TimeoutException as error:
        raise ServiceUnreachable(
            f"{where} did not respond to {method} {limit}. It may have received the request. "
            "Check the status, or give the client a longer timeout.",
            url=where,
        ) from error
    except httpx.ConnectError as error:
        raise ServiceUnreachable(
            f"No response from {where} ({error}). Is the container running, and is this its address?", url=where
        ) from error
    except httpx.RequestError as error:
        reason = str(error) or type(error).__name__
        raise ServiceUnreachable(
            f"The connection to {where} broke before the response ({reason}). The request may have been received. "
            "Check the status.",
            url=where,
        ) from error


def decoded(response: httpx.Response, build: Callable[[Any], T]) -> T:
    """Return the value that ``build`` makes from the JSON of a response.

    Raises:
        ErrorAnswer: the response is an error.
        AnswerNotUnderstood: the response is not JSON, or ``build`` cannot use it.
    """
    if response.status_code != 200:
        raise error_answer(response)
    try:
        return build(response.json())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _not_understood(response, repr(error)) from error


def error_answer(response: httpx.Response) -> ErrorAnswer | AnswerNotUnderstood:
    """Return the error for a response that has been read."""
    code = response.status_code
    if code < 400:
        return _not_understood(response, f"status {code}")
    kind = RequestRefused if code < 500 else RequestFailed
    try:
        body = response.json()
        message = body["message"]
    except (ValueError, KeyError, TypeError):
        where = f"{response.request.method} {shown(response.url)}"
        return kind(f"{where} returned {code}: {_quote(response)}", code=code)
    if code == 401 and not response.request.headers.get("Authorization"):
        message = (
            f"{message} This client takes the token from {LOGIN_VARIABLE}, or from the URL: http://:TOKEN@HOST:PORT."
        )
    optional = {key: body[key] for key in ("operation", "state", "activity", "field") if isinstance(body.get(key), str)}
    possible = body.get("possible")
    return kind(str(message), code=code, possible=possible if isinstance(possible, list) else (), **optional)


def _not_understood(response: httpx.Response, reason: str) -> AnswerNotUnderstood:
    where = shown(response.url)
    return AnswerNotUnderstood(
        f"The server that answered {response.request.method} {where} does not seem to be a model container ({reason}): "
        f"{_quote(response)}",
        url=where,
    )


def _quote(response: httpx.Response) -> str:
    """Return the beginning of a response's text, on one line."""
    text = " ".join(response.text.split())
    if not text:
        return response.reason_phrase or "an empty response"
    return text if len(text) <= _QUOTED else text[:_QUOTED] + " ..."
