"""The access log: one line for every answered request."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mistk_service.logs import encodable
from mistk_service.web.access.roles import Principal, principal_of

logger = logging.getLogger("mistk_service.access")

#: Characters of a path in a log.
_PATH = 500

#: The key of an ASGI scope under which the address of the client is, if a trusted proxy has sent it.
ADDRESS = "mistk.address"

#: The status of a request whose client left before it was answered, as in nginx's logs.
_CLIENT_LEFT = 499


@dataclass(frozen=True)
class Answered:
    """A request, and how it was answered.

    Attributes:
        principal: the sender; None without a log-in.
        address: where it came from.
        method: the HTTP method; ``RPC`` for a call of gRPC.
        path: the path, without the query, which may hold secrets.
        status: the HTTP status, or the name of gRPC's.
        result: ``accepted``, ``refused`` or ``failed``.
        seconds: how long it took.
        request: the id of the request.
    """

    principal: Principal | None
    address: str
    method: str
    path: str
    status: int | str
    result: str
    seconds: float
    request: str | None


def answered(scope: Scope, status: int, seconds: float) -> Answered:
    """Return the log entry of an HTTP request."""
    result = "accepted" if status < 400 else "refused" if status < 500 else "failed"
    address = scope.get(ADDRESS) or (scope.get("client") or ("",))[0]
    request, path = scope.get("mistk.request_id"), scope["path"][:_PATH]
    return Answered(principal_of(scope), address, scope["method"], path, status, result, seconds, request)


def log_request(call: Answered) -> None:
    """Write a line of the access log."""
    who = None if call.principal is None else encodable(call.principal.name)
    fields = {
        "who": who,
        "from": call.address,
        "method": call.method,
        "path": encodable(call.path),
        "status": call.status,
        "duration": round(call.seconds, 6),
    }
    # Quoted as Python quotes it, a path cannot start a new line.
    text = "%s %s %s %r %s %.1f ms"
    values = (call.address, who or "-", call.method, fields["path"], call.status, 1000 * call.seconds)
    logger.info(text, *values, extra={"fields": fields})


class AccessLog:
    """ASGI middleware: writes a line about each request when its answer ends."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), _CLIENT_LEFT

        async def recording_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, recording_send)
        finally:
            log_request(answered(scope, status, time.perf_counter() - began))
