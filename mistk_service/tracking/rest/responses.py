"""Translates a remote's HTTP answers to JSON objects or errors of tracking."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, NoReturn

import httpx
import msgspec

from mistk_service.tracking.errors import (
    AnswerLost,
    InvalidPageToken,
    InvalidParameter,
    InvalidState,
    NotSupported,
    PermissionDenied,
    ResourceExists,
    ResourceNotFound,
    StoreError,
    StoreUnavailable,
    Unauthenticated,
)
from mistk_service.tracking.rest.config import VARIABLES
from mistk_service.tracking.rest.identity import Identity
from mistk_service.tracking.rest.urls import without_userinfo

Json = dict[str, Any]

#: The longest delay that a server can request, in seconds.
_LONGEST_WAIT = 86_400.0
#: Characters of a server's text that an error repeats.
_QUOTED = 500

_FIELD = re.compile(r"parameter '([^'\s]+)'")
_MODEL_JSON = re.compile(r"Model json |Malformed model info")
_TAG = re.compile(r"<[^>]*>|\s+")

#: The errors for codes that mean the same with any status. The others depend on the status.
_ERRORS: dict[str, type[StoreError]] = {
    "RESOURCE_DOES_NOT_EXIST": ResourceNotFound,
    "NOT_FOUND": ResourceNotFound,
    "RESOURCE_ALREADY_EXISTS": ResourceExists,
    "ALREADY_EXISTS": ResourceExists,
    "NOT_IMPLEMENTED": NotSupported,
    "ENDPOINT_NOT_FOUND": NotSupported,
    # A concurrent change; a retry may succeed.
    "ABORTED": StoreUnavailable,
    "RESOURCE_CONFLICT": StoreUnavailable,
    "PERMISSION_DENIED": PermissionDenied,
    "INVALID_STATE": InvalidState,
}
#: The message for a server that only sends the code.
_WORDS = {ResourceNotFound: "There is no", ResourceExists: "There is already a"}

#: The server, or a proxy, did not process the request; it can be sent again.
_NOT_TAKEN = frozenset({408, 425, 429, 503})


class About(NamedTuple):
    """The subject of a request, for errors that name it.

    Attributes:
        kind: the kind in words (``run``, ``experiment`` ...).
        key: its id or name.
    """

    kind: str = "resource"
    key: str = ""


#: A request without a subject.
SOMETHING = About()


def read_object(response: httpx.Response, server: str, *, quoting: bool = True) -> Json:
    """Return the JSON object of a successful response.

    Args:
        response: the response, which has been read.
        server: the name of the sender for messages.
        quoting: whether an error may quote the beginning of the body.

    Raises:
        AnswerLost: it is not: it was truncated, or does not come from the tracking server.
    """
    if not response.content.strip():
        return {}
    value = _decoded(response.content)
    if not isinstance(value, dict):
        found = f": {_quote(response.content)!r}" if quoting else ""
        raise AnswerLost(
            f"{server} sent something other than a JSON object of MLflow's API, or only a part of one{found}. "
            "Is that the address of a tracking server?"
        )
    return value


def raise_for(
    response: httpx.Response, server: str, about: About, identity: Identity, *, essential: bool, quoting: bool = True
) -> NoReturn:
    """Raise the error for an unsuccessful response.

    Args:
        response: the response, which has been read.
        server: the name of the sender for messages.
        about: the subject of the request.
        identity: the credentials of the request.
        essential: whether every server of this API has the operation. If it is missing, the address is wrong.
        quoting: whether an error may quote the body.
    """
    content = response.content if quoting else b""
    body = _decoded(content)
    fields = body if isinstance(body, dict) else {}
    code = fields.get("error_code")
    message = fields.get("message") or fields.get("error_description") or fields.get("error")
    text = identity.hide(message if isinstance(message, str) else "" if fields else _quote(content))[:_QUOTED]
    if isinstance(code, str) and code:
        _raise_for_code(code, text or code, about, identity)
    sentence = _sentence(f"{server} answered {response.status_code}" + (f": {text}" if text else ""))
    if response.status_code == 401:
        raise _unauthenticated(sentence, identity)
    _raise_for_status(response, sentence, about, essential=essential)


def _raise_for_code(code: str, text: str, about: About, identity: Identity) -> None:
    if code in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST"):
        raise _invalid(text)
    if code in ("UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"):
        raise _unauthenticated(_sentence(text), identity)
    error = _ERRORS.get(code)
    if error in _WORDS and text == code:
        text = f"{_WORDS[error]} {about.kind} {about.key!r} on the server."
    if error is not None:
        raise error(text)


def _where(response: httpx.Response) -> str:
    """Describe a redirect, which is not followed."""
    location = response.headers.get("location")
    if not location:
        return "It is a redirect without a target."
    return f"It is a redirect to {without_userinfo(location)}; redirects of writes, and to other servers, are not followed."


def _invalid(text: str) -> InvalidParameter:
    """Return the error for an invalid request; only the text of the message names the wrong field."""
    if "nvalid page token" in text:
        return InvalidPageToken(text, field="page_token")
    if _MODEL_JSON.match(text):
        return InvalidParameter(text, field="model_json")
    found = _FIELD.search(text)
    return InvalidParameter(text, field=found[1] if found else None)


def _unauthenticated(message: str, identity: Identity) -> Unauthenticated:
    if identity.is_known:
        return Unauthenticated(f"{message} Check the token, or the username and password; they may have expired.")
    return Unauthenticated(
        f"{message} No credentials were sent: set {VARIABLES['token']}, or {VARIABLES['username']} and "
        f"{VARIABLES['password']}."
    )


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _raise_for_status(response: httpx.Response, message: str, about: About, *, essential: bool) -> NoReturn:
    status = response.status_code
    if status in _NOT_TAKEN:
        raise StoreUnavailable(message, retry_after=retry_after(response.headers))
    if status >= 500 and status not in (501, 505):
        raise AnswerLost(message, retry_after=retry_after(response.headers))
    if status == 403:
        raise PermissionDenied(message)
    if status in (404, 405, 501):
        if essential:
            raise StoreUnavailable(
                f"{message} There is no tracking server at this address, or you may not see it; check the URI and the "
                "permissions."
            )
        raise NotSupported(f"The server does not have this operation. {message}")
    if status in (400, 411, 413, 414, 415, 422, 431):
        raise _invalid(f"{about.kind} {about.key!r}: {message}")
    if 300 <= status < 400:
        raise StoreUnavailable(f"{message} {_where(response)} Give the address that it redirects to.")
    if status == 407:
        raise StoreUnavailable(f"{message} A proxy in between requires authentication.")
    raise StoreError(message)


def retry_after(headers: Mapping[str, str], now: Callable[[], float] = time.time) -> float | None:
    """Return the seconds that a server requests to wait, as a number or a date, or None.

    A date is compared with the server's own clock where the answer has it, since the two clocks need not agree.
    """
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        until, present = _timestamp(text), _timestamp(headers.get("date", ""))
        if until is None:
            return None
        seconds = until - (now() if present is None else present)
    return min(max(seconds, 0.0), _LONGEST_WAIT) if seconds == seconds else None  # noqa: PLR0124 - NaN is a float, too


def _timestamp(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _quote(body: bytes) -> str:
    """Return the beginning of a text, of HTML without its tags."""
    text = _TAG.sub(" ", body[: 4 * _QUOTED].decode("utf-8", "replace"))
    return " ".join(text.split())[:_QUOTED]
