"""The gRPC server: a separate port on the service's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from starlette.types import Scope

from mistk_service.doors.grpc import open_inference_pb2 as pb
from mistk_service.doors.grpc.method_roles import ROLES
from mistk_service.doors.grpc.servicers import HEALTH_SERVICE, INFERENCE_SERVICE, InferenceService
from mistk_service.doors.problem import problem_of
from mistk_service.doors.served_model import ServedModel
from mistk_service.errors import InvalidRequest, NotAllowed, OperationUnsupported, SettingsError, shortened
from mistk_service.web.access import AccessRole, Authenticator, Principal

#: The codes of errors by their HTTP status.
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}

#: The maximum size of the details of a status in bytes, percent-encoded. With more than 8 KB, clients may see another status.
_DETAILS = 6_000

#: The sender of the current call.
caller: ContextVar[Principal | None] = ContextVar("caller", default=None)

#: A method of a service: takes a request and its context, and returns the response.
Method = Callable[[Any, Any], Awaitable[Any]]

#: Metadata that does not authenticate a caller: a browser's session is for its own pages.
_NO_LOG_IN = "cookie"

#: Receives an answered call: method, name of the status code, seconds, caller, and a function that returns its address.
Note = Callable[[str, str, float, Principal | None, Callable[[], str]], None]


async def start_server(
    model: ServedModel,
    host: str,
    port: int,
    max_body: int,
    max_watches: int,
    on_call: Note,
    authenticator: Authenticator | None,
    certificate: tuple[Path, Path] | None = None,
) -> tuple[Any, int]:
    """Start the server and return it, with the port that it listens on.

    Args:
        model: the model.
        host: the address to listen on.
        port: the port; 0 picks a free one.
        max_body: the maximum size of a message from a client in bytes.
        max_watches: the maximum number of open watches.
        on_call: receives each answered call.
        authenticator: identifies callers; None if no log-in is required. The health service never requires one.
        certificate: the files of the certificate and its key, for TLS; they are read at each new connection.

    Raises:
        SettingsError: the port cannot be used.
    """
    options = (
        ("grpc.max_receive_message_length", max_body),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
    )
    server = grpc.aio.server(options=options)
    service = InferenceService(model, max_watches)
    methods = {
        name: _unary(
            _guarded(getattr(service, name), name, role, authenticator), name, getattr(pb, f"{name}Request"), on_call
        )
        for name, role in ROLES.items()
    }
    health = {
        "Check": _unary(service.Check, "Check", health_pb2.HealthCheckRequest, on_call),
        "Watch": grpc.unary_stream_rpc_method_handler(
            _streaming(service.Watch, health_pb2.HealthCheckRequest), None, _serialized
        ),
    }
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(INFERENCE_SERVICE, methods),
            grpc.method_handlers_generic_handler(HEALTH_SERVICE, health),
        )
    )
    address = f"[{host}]" if ":" in host else host
    try:
        if certificate is None:
            bound = server.add_insecure_port(f"{address}:{port}")
        else:
            bound = server.add_secure_port(f"{address}:{port}", _credentials(*certificate))
    except RuntimeError as error:
        raise SettingsError(f"--grpc-port: cannot listen at {address}:{port}.") from error
    await server.start()
    return server, bound


def _credentials(certificate: Path, key: Path) -> Any:
    """Return the credentials of a server. If the files can no longer be read, the last certificate stays in use."""

    def read() -> Any:
        with contextlib.suppress(OSError):
            return grpc.ssl_server_certificate_configuration([(key.read_bytes(), certificate.read_bytes())])
        return None

    return grpc.dynamic_ssl_server_credentials(read(), read)


def _serialized(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data


def _guarded(method: Method, name: str, needed: AccessRole, authenticator: Authenticator | None) -> Method:
    """Return a method that requires a role."""
    if authenticator is None:
        return method

    async def call(message: Any, context: Any) -> Any:
        principal = await authenticator.principal(_scope(context))
        caller.set(principal)
        if principal.role < needed:
            raise NotAllowed(f"{principal.name} has the role {principal.role.label}, and {name} needs {needed.label}.")
        return await method(message, context)

    return call


def _scope(context: Any) -> Scope:
    """Return the scope of a request of HTTP with the metadata of a call."""
    metadata = [
        (key.encode(), value.encode())
        for key, value in context.invocation_metadata()
        if isinstance(value, str) and key != _NO_LOG_IN
    ]
    return {"type": "http", "headers": metadata, "client": (_address(context), 0)}


def _address(context: Any) -> str:
    """Return the address of a client, from ``ipv4:127.0.0.1:5000`` or ``ipv6:%5B::1%5D:5000``."""
    address: str = unquote(context.peer()).partition(":")[2].rpartition(":")[0]
    return address.strip("[]")


def _unary(method: Method, name: str, request: Any, on_call: Note) -> Any:
    """Return a method whose errors become statuses, and whose calls are reported."""

    async def call(body: bytes, context: Any) -> Any:
        began, code = time.perf_counter(), grpc.StatusCode.OK
        caller.set(None)
        try:
            return await method(_parsed(request, body), context)
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a status
            code, text = _status(error)
            await context.abort(code, text)
        finally:
            on_call(name, code.name, time.perf_counter() - began, caller.get(), lambda: _address(context))

    # Without a deserializer, since gRPC would treat an invalid message as an error of the server.
    return grpc.unary_unary_rpc_method_handler(call, None, _serialized)


def _streaming(
    method: Callable[[Any, Any], AsyncGenerator[Any, None]], request: Any
) -> Callable[..., AsyncIterator[Any]]:
    """Return a method with a stream of responses, whose errors become statuses."""

    async def call(body: bytes, context: Any) -> AsyncIterator[Any]:
        try:
            async with contextlib.aclosing(method(_parsed(request, body), context)) as responses:
                async for response in responses:
                    yield response
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a status
            await context.abort(*_status(error))

    return call


def _parsed(request: Any, body: bytes) -> Any:
    try:
        return request.FromString(body)
    except DecodeError as error:
        raise InvalidRequest(f"The request is not a {request.DESCRIPTOR.full_name}.") from error


def _status(error: Exception) -> tuple[grpc.StatusCode, str]:
    problem = problem_of(error)
    details = _fitting(problem.message)
    if isinstance(error, OperationUnsupported):
        return grpc.StatusCode.UNIMPLEMENTED, details
    return _CODES.get(problem.status, grpc.StatusCode.INTERNAL), details


def _fitting(text: str) -> str:
    """Return a text that fits into the details of a status, without its middle if it is too long."""
    found = text
    while len(quote(found)) > _DETAILS:
        found = shortened(text, len(found) // 2)
    return found
