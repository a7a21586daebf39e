"""From an operationId of the contract to an ASGI application that answers it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from functools import partial
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.tracking.errors import StoreUnavailable
from mistk_service.tracking.server.operations import is_brief
from mistk_service.tracking.server.pieces import piecewise
from mistk_service.tracking.server.reading import ClientGone, fields_of, limits_of
from mistk_service.tracking.server.replies import BodyTooLarge, encoded, send_error, send_json, send_too_large
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.wire.encoding import Fields
from mistk_service.web.json_limits import JsonLimits

__all__ = ["Endpoints"]

Json = dict[str, Any]
Transfer = Callable[..., Awaitable[Response]]


class Endpoints:
    """Finds the method for an operationId and wraps it. It is what Connexion resolves operationIds with.

    Args:
        operations: has methods that take :class:`~mistk_service.tracking.wire.encoding.Fields` and give the JSON object of the
            answer, or yield its JSON in pieces. A coroutine function runs on the event loop, any other on ``executor``,
            unless it is brief and the event loop need not wait for it. Parameters of the path come as keyword arguments.
        transfers: has coroutine methods that take the request and give the response, for bodies that are no JSON.
        store: what the operations work on.
        executor: for what blocks.
        max_body: bytes that a JSON body may have.
    """

    def __init__(self, operations: object, transfers: object, store: Store, executor: Executor, max_body: int) -> None:
        self._operations = operations
        self._store = store
        self._transfers = transfers
        self._executor = executor
        self._max_body = max_body

    def __call__(self, operation_id: str) -> ASGIApp:
        """Return the application for an operation.

        Raises:
            AttributeError: no method has that name, which stops the start of the server.
        """
        transfer = getattr(self._transfers, operation_id, None)
        if transfer is not None:
            return _TransferEndpoint(transfer)
        method = getattr(self._operations, operation_id)
        limits = limits_of(operation_id, self._max_body)
        if inspect.isgeneratorfunction(method):
            return _PiecesEndpoint(method, limits, self._executor)
        if not inspect.iscoroutinefunction(method):
            brief = is_brief(method)
            method = _Briefly(method, self._executor, self._store) if brief else _Aside(method, self._executor)
        return _JsonEndpoint(method, limits, self._executor)


class _Aside:
    """Runs a method on a thread, together with the writing of its answer, which may be long."""

    def __init__(self, method: Callable[..., Json], executor: Executor) -> None:
        self._method = method
        self._executor = executor

    async def __call__(self, fields: Fields, **parameters: str) -> bytes:
        call = partial(self._encoded, fields, **parameters)
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def _encoded(self, fields: Fields, **parameters: str) -> bytes:
        return encoded(self._method(fields, **parameters))


class _Briefly(_Aside):
    """Runs a method right here where the store can be read without waiting, and else on a thread."""

    def __init__(self, method: Callable[..., Json], executor: Executor, store: Store) -> None:
        super().__init__(method, executor)
        self._store = store

    async def __call__(self, fields: Fields, **parameters: str) -> bytes:
        try:
            with self._store.at_once():
                return self._encoded(fields, **parameters)
        except StoreUnavailable:
            return await super().__call__(fields, **parameters)


class _JsonEndpoint:
    def __init__(self, method: Callable[..., Awaitable[Json | bytes]], limits: JsonLimits, executor: Executor) -> None:
        self._method = method
        self._limits = limits
        self._executor = executor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            fields = await fields_of(scope, receive, self._limits, self._executor)
            answer = await self._method(fields, **scope["path_params"])
        except ClientGone:
            return
        except BodyTooLarge as error:
            await send_too_large(scope, receive, send, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer in MLflow's form
            await send_error(send, error)
        else:
            await send_json(send, answer)


class _PiecesEndpoint:
    """Sends what a generator function yields; it runs on a thread."""

    def __init__(self, method: Callable[..., Iterator[bytes]], limits: JsonLimits, executor: Executor) -> None:
        self._method = method
        self._limits = limits
        self._executor = executor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            fields = await fields_of(scope, receive, self._limits, self._executor)
            pieces = self._method(fields, **scope["path_params"])
            response = await piecewise(pieces, receive, self._executor)
        except ClientGone:
            return
        except BodyTooLarge as error:
            await send_too_large(scope, receive, send, error)
        except Exception as error:  # noqa: BLE001 - as above
            await send_error(send, error)
        else:
            await response(scope, receive, send)


class _TransferEndpoint:
    def __init__(self, method: Transfer) -> None:
        self._method = method

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._method(Request(scope, receive), **scope["path_params"])
        except (ClientGone, ClientDisconnect):
            return
        except Exception as error:  # noqa: BLE001 - as above
            await send_error(send, error)
        else:
            await response(scope, receive, send)
