"""The operations of a kind's contract: each reads the request, calls the controller, and builds the response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
from starlette.responses import JSONResponse, Response

from mistk_service.core.answer_parts import AnswerParts
from mistk_service.core.controller import Controller
from mistk_service.core.status_log import StatusEvent
from mistk_service.doors.mistk.confinement import Roots
from mistk_service.doors.mistk.parts import events_response, parts_response
from mistk_service.doors.mistk.record_codec import answer_body, records_of
from mistk_service.doors.mistk.status import relocated
from mistk_service.doors.mistk.watch import last_event_id, require_free_watch, watch_response
from mistk_service.errors import InvalidRequest
from mistk_service.kinds.call import Call
from mistk_service.kinds.kind import Kind, Operation, Role
from mistk_service.kinds.predictions import Answer, Records
from mistk_service.web.access import AccessRole, principal_of, role_for
from mistk_service.web.contract import argument_name, current_headers, current_scope
from mistk_service.web.disconnect import unless_disconnected
from mistk_service.web.json_response import JsonText
from mistk_service.web.prefix import prefix_of

Handler = Callable[..., Awaitable[Response]]

#: The role of clients that an operation needs, by how it is carried out.
_ROLES = {
    Role.ACTIVITY: AccessRole.OPERATOR,
    Role.PREDICTION: AccessRole.PREDICTOR,
    Role.PAUSE: AccessRole.OPERATOR,
    Role.RESUME: AccessRole.OPERATOR,
    Role.CANCEL: AccessRole.OPERATOR,
    Role.RESET: AccessRole.OPERATOR,
    Role.SHUTDOWN: AccessRole.ADMIN,
}


class Handlers:
    """Makes the handlers for the operationIds of a contract.

    Args:
        controller: the controller to call.
        contract: the contract.
        keepalive: seconds between two keep-alives of a watch.
        root_path: the path below which a reverse proxy serves the container.
        roots: the roots below which paths in requests must lie; None for no restriction.
        max_watches: the maximum number of open watches.
    """

    def __init__(
        self,
        controller: Controller,
        contract: Mapping[str, Any],
        *,
        keepalive: float,
        root_path: str = "",
        roots: Roots | None = None,
        max_watches: int = 4096,
    ) -> None:
        self._controller = controller
        self._kind = controller.kind
        self._version: str = contract["info"]["version"]
        self._keepalive = keepalive
        self._root_path = root_path
        self._roots = roots
        self._max_watches = max_watches
        self._places = {
            definition["operationId"]: (path.strip("/"), definition)
            for path, methods in contract["paths"].items()
            for definition in methods.values()
        }

    def resolve(self, operation_id: str) -> Handler:
        """Return the handler for an operationId.

        Raises:
            KeyError: the contract does not have the operationId, or its path does not name an operation of the kind.
        """
        name, definition = self._places[operation_id]
        fixed: dict[str, Handler] = {"status": self._get_status, "apiVersion": self._get_api_version}
        if name in fixed:
            return fixed[name]
        if name in self._kind.documents:
            return partial(self._get_document, name)
        row = self._kind.operations[name]
        if row.role is Role.PREDICTION:
            return self._prediction(row) if row.name in self._kind.bodies else self._stream_predict
        return self._operation(row, definition.get("parameters", ()))

    def role(self, operation_id: str, method: str) -> AccessRole:
        """Return the role that a client needs for an operationId."""
        return role_in(self._kind, self._places[operation_id][0], operation_id, method)

    def _operation(self, row: Operation, parameters: list[dict[str, Any]]) -> Handler:
        read = self._kind.bodies.get(row.name)

        async def handle(**given: Any) -> Response:
            call = read(*given.values()) if read is not None else _call(parameters, given)
            if self._roots is not None:
                await self._roots.check(call)
            if (principal := principal_of(current_scope())) is not None:
                call = replace(call, caller=principal.name)
            if row.streams:
                return await self._stream(row, call)
            called = self._kind.operations[call.operation or row.name]
            event = await self._controller.call(called.name, call)
            if called.role is Role.CANCEL:
                return Response(status_code=204)
            if called.role is Role.ACTIVITY:
                await self._controller.wait_accepted()  # its hook may refuse the request
            return self._status(event)

        return handle

    async def _stream(self, row: Operation, call: Call) -> Response:
        parts = await self._controller.stream(row.name, call)
        await self._controller.wait_accepted()
        parts.raise_early_error()
        return events_response(parts, current_headers().get("accept", ""), self._keepalive)

    def _prediction(self, row: Operation) -> Handler:
        """Return the handler of an operation that predicts, for a kind whose records are not texts but other JSON values."""
        read = self._kind.bodies[row.name]

        async def handle(**given: Any) -> Response:
            (values,) = read(*given.values()).arguments
            answer = await unless_disconnected(
                current_scope(), self._controller.predict(Records(tuple(values), tuple(values.values())))
            )
            assert isinstance(answer, Answer), "only stream predictions are answered in parts"
            return JsonText(await answer_body(answer))

        return handle

    async def _stream_predict(self, data_map: dict[str, str], details: bool = False) -> Response:
        records = await records_of(data_map, self._controller.signature.record_encoding)
        try:
            prediction = self._controller.predict(records, details)
        except InvalidRequest as error:
            raise InvalidRequest(f"dataMap: {error}", field="dataMap") from error
        del records
        del data_map  # it may be large, and is not needed while this waits
        answer = await unless_disconnected(current_scope(), prediction)
        if isinstance(answer, AnswerParts):
            return await parts_response(answer, current_headers().get("accept", ""), current_scope())
        return JsonText(await answer_body(answer))

    async def _get_status(self, watch: bool = False, resource_version: int | None = None) -> Response:
        if resource_version is not None and not 0 <= resource_version < 2**63:
            raise InvalidRequest(
                f"resourceVersion: {str(resource_version)[:40]} is not a version; expected an integer from 0 to 2^63 - 1.",
                field="resourceVersion",
            )
        if not watch:
            return self._status(self._controller.log.latest())
        require_free_watch(self._controller.log, self._max_watches)
        headers = current_headers()
        sse = "text/event-stream" in headers.get("accept", "")
        # A browser that reconnects sends the id of the last event, together with the original query.
        known = last_event_id(headers.get("last-event-id"))
        after = resource_version if known is None else known
        return watch_response(self._controller.log, after, sse=sse, keepalive=self._keepalive, shown=self._relocation())

    async def _get_document(self, name: str) -> Response:
        await self._controller.wait_loaded()
        return JsonText(msgspec.json.encode(self._controller.documents[name]) + b"\n")

    def _status(self, event: StatusEvent) -> Response:
        # The line feed is for terminals: without it, the prompt would follow on the same line.
        return JsonText(self._relocation()(event).status + b"\n")

    def _relocation(self) -> Callable[[StatusEvent], StatusEvent]:
        """Return a function that adapts the links of a status to the proxy that the request came through."""
        prefix = prefix_of(current_scope(), self._root_path)
        if prefix == self._root_path:
            return lambda event: event
        return partial(relocated, prefix=prefix, root_path=self._root_path)

    async def _get_api_version(self) -> Response:
        return JSONResponse(self._version)


def role_in(kind: Kind, name: str, operation_id: str, method: str) -> AccessRole:
    """Return the role that a client needs for an operation of a kind's contract, whose path ends with ``name``."""
    row = kind.operations.get(name)
    return role_for(operation_id, method) if row is None else _ROLES[row.role]


def _call(parameters: list[dict[str, Any]], given: Mapping[str, Any]) -> Call:
    """Return the parameters as the hook's arguments, in the order of the contract. Missing parameters are None."""
    values: dict[str, Any] = {each["name"]: given.get(argument_name(each["name"])) for each in parameters}

    def paths(use: str) -> dict[str, str]:
        named = (each["name"] for each in parameters if each.get("x-mistk-path") == use)
        return {field: path for name in named for field, path in _paths(name, values[name])}

    return Call(tuple(values.values()), reads=paths("read"), writes=paths("write"))


def _paths(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the path in a parameter, or each path in an object of them, with the name of its field."""
    if isinstance(value, Mapping):
        yield from ((f"{name}.{key}", path) for key, path in value.items())
    elif value is not None:
        yield name, value
