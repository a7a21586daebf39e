"""What a service answers, as values and errors: the one boundary at which HTTP ends."""

from __future__ import annotations

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

__all__ = ["decoded", "error_answer", "parse_base_url", "shown", "unreachable"]

T = TypeVar("T")

#: How much of an answer that is not understood is quoted, in characters.
_QUOTED = 200

_BASE_PATH = "/v1/mistk"


def parse_base_url(text: str) -> httpx.URL:
    """Return the address of a service without the API's base path, which may be given or left out.

    Raises:
        InvalidRequest: it is no such address.
    """
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, TypeError):
        url = httpx.URL("")
    usable = url.scheme in {"http", "https"} and url.host and (url.port or 1) < 65536
    if not usable or url.query or url.fragment:
        # The text itself is not repeated: it may hold a password.
        raise InvalidRequest(
            "base_url: this is no address of a model container; expected one such as http://localhost:8080.",
            field="base_url",
        )
    return url.copy_with(path=url.path.rstrip("/").removesuffix(_BASE_PATH) or "/")


def shown(url: httpx.URL | str) -> str:
    """Return ``url`` as it may appear in messages: without credentials."""
    return str(httpx.URL(url).copy_with(userinfo=b""))


@contextmanager
def unreachable(method: str, url: httpx.URL | str, timeout: float | None) -> Iterator[None]:
    """Turn what httpx raises into ServiceUnreachable."""
    where = shown(url)
    limit = "in time" if timeout is None else f"within {timeout:g} s"
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise ServiceUnreachable(f"No connection to {where} {limit}.", url=where) from error
    except httpx.TimeoutException as error:
        raise ServiceUnreachable(
            f"{where} did not answer {method} {limit}. Whether it has received the request is not known; "
            "ask for the status, or give the client a longer timeout.",
            url=where,
        ) from error
    except httpx.ConnectError as error:
        raise ServiceUnreachable(
            f"Nothing answers at {where} ({error}). Is the container running, and is this its address?", url=where
        ) from error
    except httpx.RequestError as error:
        reason = str(error) or type(error).__name__
        raise ServiceUnreachable(
            f"The connection to {where} broke before the answer was there ({reason}). Whether the request was received is "
            "not known; ask for the status.",
            url=where,
        ) from error


def decoded(response: httpx.Response, build: Callable[[Any], T]) -> T:
    """Return what ``build`` makes of the JSON of an answer.

    Raises:
        ErrorAnswer: the answer is an error.
        AnswerNotUnderstood: it is no JSON, or ``build`` cannot use it.
    """
    if response.status_code != 200:
        raise error_answer(response)
    try:
        return build(response.json())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _not_understood(response, repr(error)) from error


def error_answer(response: httpx.Response) -> ErrorAnswer | AnswerNotUnderstood:
    """Return the error that an answer stands for; the answer has been read."""
    code = response.status_code
    if code < 400:
        return _not_understood(response, f"status {code}")
    kind = RequestRefused if code < 500 else RequestFailed
    try:
        body = response.json()
        message = body["message"]
    except (ValueError, KeyError, TypeError):
        where = f"{response.request.method} {shown(response.url)}"
        return kind(f"{where} was answered with {code}: {_quote(response)}", code=code)
    optional = {key: body[key] for key in ("operation", "state", "activity", "field") if isinstance(body.get(key), str)}
    possible = body.get("possible")
    return kind(str(message), code=code, possible=possible if isinstance(possible, list) else (), **optional)


def _not_understood(response: httpx.Response, reason: str) -> AnswerNotUnderstood:
    where = shown(response.url)
    return AnswerNotUnderstood(
        f"What answered {response.request.method} {where} does not seem to be a model container ({reason}): "
        f"{_quote(response)}",
        url=where,
    )


def _quote(response: httpx.Response) -> str:
    """Return the beginning of an answer's text, on one line."""
    text = " ".join(response.text.split())
    if not text:
        return response.reason_phrase or "an empty answer"
    return text if len(text) <= _QUOTED else text[:_QUOTED] + " ..."
