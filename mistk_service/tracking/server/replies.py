"""Answers in MLflow's form, errors first of all."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
from starlette.types import Message, Receive, Scope, Send

from mistk_service.tracking.errors import StoreError, StoreUnavailable

__all__ = [
    "BodyTooLarge",
    "MethodNotAllowed",
    "UnsupportedEncoding",
    "encoded",
    "error_body",
    "error_status",
    "refusal_body",
    "send_error",
    "send_json",
    "send_too_large",
]

_log = logging.getLogger(__name__)

Headers = Sequence[tuple[bytes, bytes]]

#: The HTTP status of each error code, as MLflow has it; 500 for any other.
_STATUS = {
    "BAD_REQUEST": 400,
    "ENDPOINT_NOT_FOUND": 404,
    "INTERNAL_ERROR": 500,
    "INVALID_PARAMETER_VALUE": 400,
    "INVALID_STATE": 500,
    "NOT_IMPLEMENTED": 501,
    "PERMISSION_DENIED": 403,
    "RESOURCE_ALREADY_EXISTS": 400,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "TEMPORARILY_UNAVAILABLE": 503,
    "UNAUTHENTICATED": 401,
}

#: How much of a body that was refused is still taken, and for how long.
_DRAIN_BYTES, _DRAIN_SECONDS = 256 * 1024 * 1024, 2.0

_UNEXPECTED = "The tracking server failed in a way that it was not prepared for; its log has the details."


class _Refused(StoreError):
    """The request cannot be taken for a reason that only HTTP knows.

    Attributes:
        status: the HTTP status.
        headers: what to add to the answer.
    """

    error_code = "BAD_REQUEST"
    status = 400

    def __init__(self, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.headers = tuple(headers)


class BodyTooLarge(_Refused):
    """The body is longer than the server takes."""

    status = 413


class UnsupportedEncoding(_Refused):
    """The body is compressed."""

    status = 415


class MethodNotAllowed(_Refused):
    """The path has no operation for this method."""

    status = 405


def error_status(error: Exception) -> int:
    """Return the HTTP status that MLflow has for an error."""
    if isinstance(error, _Refused):
        return error.status
    return _STATUS.get(error.error_code, 500) if isinstance(error, StoreError) else 500


def error_body(error: Exception) -> dict[str, Any]:
    """Return MLflow's JSON for an error; of one that nobody expected it tells nothing but that."""
    if isinstance(error, StoreError):
        return {"error_code": error.error_code, "message": str(error)}
    return {"error_code": "INTERNAL_ERROR", "message": _UNEXPECTED}


def refusal_body(status: int, message: str) -> bytes:
    """Return MLflow's JSON for a request that no operation sees, by its HTTP status."""
    code = next((code for code, each in _STATUS.items() if each == status), "BAD_REQUEST")
    return encoded({"error_code": code, "message": message})


async def send_error(send: Send, error: Exception) -> None:
    """Answer with an error; one that nobody expected is logged."""
    if not isinstance(error, StoreError):
        _log.error("A request to the tracking server failed", exc_info=error)
    headers: list[tuple[bytes, bytes]] = list(error.headers) if isinstance(error, _Refused) else []
    if isinstance(error, StoreUnavailable) and error.retry_after is not None:
        headers.append((b"retry-after", str(math.ceil(error.retry_after)).encode()))
    await send_json(send, error_body(error), error_status(error), headers)


async def send_too_large(scope: Scope, receive: Receive, send: Send, error: BodyTooLarge) -> None:
    """Answer with the error, and take what the client is sending, so that the answer reaches it.

    A connection closed over unread data is reset, and the client may never see what was written to it.
    """

    async def send_unfinished(message: Message) -> None:
        await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

    await send_json(send_unfinished, error_body(error), error.status, error.headers)
    # A client that expects a word before it sends anything has sent nothing, and must not be given that word.
    if not any(name == b"expect" for name, _ in scope["headers"]):
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await _drain(receive)
    await send({"type": "http.response.body", "body": b""})


async def _drain(receive: Receive) -> None:
    left = _DRAIN_BYTES
    while left > 0:
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            return
        left -= len(message.get("body", b""))


def encoded(value: Any) -> bytes:
    """Return ``value`` as JSON."""
    return msgspec.json.encode(value)


async def send_json(send: Send, value: Any, status: int = 200, headers: Headers = ()) -> None:
    """Answer with ``value`` as JSON, or with the JSON that it already is where it is bytes."""
    body = value if isinstance(value, bytes) else encoded(value)
    length = (b"content-length", str(len(body)).encode())
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-type", b"application/json"), length, *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})
