"""Finds the handler for an operationId of the contract."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any

from starlette.responses import Response

from mistk_service.tracking.errors import StoreUnavailable
from mistk_service.tracking.server.operations import is_brief
from mistk_service.tracking.server.permissions import DECISIONS, Permissions
from mistk_service.tracking.server.pieces import piecewise
from mistk_service.tracking.server.reading import limits_of
from mistk_service.tracking.server.replies import encoded, json_response
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.wire import Fields
from mistk_service.web.access import principal_of
from mistk_service.web.contract import current_scope
from mistk_service.web.json_limits import JsonLimits

Json = dict[str, Any]
Handler = Callable[..., Awaitable[Response]]


class Endpoints:
    """Creates the handler for an operationId.

    Args:
        operations: objects whose methods take :class:`~mistk_service.tracking.wire.Fields` and return the JSON
            object of the answer, or yield its JSON in pieces. A coroutine function runs on the event loop. Any other runs on
            ``executor``, unless it is brief and the store can be read without waiting. Parameters of the path come as keyword
            arguments.
        transfers: has coroutine methods that take the request and return the response, for bodies other than JSON.
        store: the store of the operations.
        executor: runs blocking calls.
        max_body: the maximum size of a JSON body in bytes.
    """

    def __init__(
        self, operations: Sequence[object], transfers: object, store: Store, executor: Executor, max_body: int
    ) -> None:
        self._operations = operations
        self._store = store
        self._transfers = transfers
        self._executor = executor
        self._max_body = max_body

    def limits(self, operation_id: str) -> JsonLimits | None:
        """Return the limits of the body of an operation; None for a transfer."""
        return None if hasattr(self._transfers, operation_id) else limits_of(operation_id, self._max_body)

    def guarded(self, operation_id: str, permissions: Permissions, decided_as: str) -> Handler:
        """Return the handler of an operation, which first checks the client's permission.

        Args:
            operation_id: the name of the method.
            permissions: the check.
            decided_as: the operationId in the contract.

        Raises:
            AttributeError: as for :meth:`handler`.
        """
        handle = self.handler(operation_id)

        async def check_and_handle(**given: Any) -> Response:
            principal = principal_of(current_scope())
            if principal is None:
                return await handle(**given)
            parameters = dict(given)
            request = parameters.pop("fields", None) or parameters.pop("request")
            if not permissions.allows_role(decided_as, principal):
                check = partial(permissions.check, decided_as, principal, request, parameters)
                try:
                    with self._store.non_blocking():
                        check()
                except StoreUnavailable:
                    await asyncio.get_running_loop().run_in_executor(self._executor, check)
            if isinstance(request, Fields):
                request.principal = principal
                request.visible = permissions.visible(principal, decided_as)
            response = await handle(**given)
            if DECISIONS[decided_as].moves:
                permissions.forget()
            if DECISIONS[decided_as].creates and principal.user_id is not None:
                note = partial(permissions.created, principal, decided_as, bytes(response.body))
                await asyncio.get_running_loop().run_in_executor(self._executor, note)
            return response

        return check_and_handle

    def handler(self, operation_id: str) -> Handler:
        """Return the handler of an operation.

        Raises:
            AttributeError: no method has that name, which stops the start of the server.
        """
        transfer: Handler | None = getattr(self._transfers, operation_id, None)
        if transfer is not None:
            return transfer
        method = next((getattr(each, operation_id) for each in self._operations if hasattr(each, operation_id)), None)
        if method is None:
            raise AttributeError(f"There is no method for the operationId {operation_id!r}.")
        if inspect.isgeneratorfunction(method):
            return partial(self._in_pieces, method)
        if inspect.iscoroutinefunction(method):
            return partial(self._awaited, method)
        return partial(self._on_loop if is_brief(method) else self._on_thread, method)

    async def _awaited(self, method: Callable[..., Awaitable[Json]], fields: Fields, **parameters: str) -> Response:
        return json_response(await method(fields, **parameters))

    async def _on_thread(self, method: Callable[..., Json], fields: Fields, **parameters: str) -> Response:
        """Run a method on a thread, together with the encoding of its answer, which may be long."""
        loop = asyncio.get_running_loop()
        return json_response(await loop.run_in_executor(self._executor, lambda: encoded(method(fields, **parameters))))

    async def _on_loop(self, method: Callable[..., Json], fields: Fields, **parameters: str) -> Response:
        """Run a method on the event loop if the store can be read without waiting, otherwise on a thread."""
        try:
            with self._store.non_blocking():
                return json_response(method(fields, **parameters))
        except StoreUnavailable:
            return await self._on_thread(method, fields, **parameters)

    async def _in_pieces(self, method: Callable[..., Iterator[bytes]], fields: Fields, **parameters: str) -> Response:
        """Send the JSON that a generator function yields; it runs on a thread."""
        return await piecewise(method(fields, **parameters), current_scope(), self._executor)
