"""Query parameters without a value: MISTK's generated clients send ``modelPath=None`` for an omitted parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.web.contract.operations import operations_of


class OmittedParameters:
    """ASGI middleware: removes optional query parameters that are empty or ``None`` from requests.

    Args:
        app: serves the contract.
        contract: says which parameters are optional.
    """

    def __init__(self, app: ASGIApp, contract: Mapping[str, Any]) -> None:
        self._app = app
        #: The parts of a query to ignore, by method and path.
        self._omitted = {
            (operation.method, operation.route): frozenset(
                each["name"].encode() + value
                for each in operation.of_place("query")
                if not each.get("required")
                for value in (b"=", b"=None")
            )
            for operation in operations_of(contract)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        query: bytes = scope.get("query_string", b"")
        if b"=None" in query or b"=&" in query or query.endswith(b"="):
            omitted = self._omitted.get((scope["method"], scope["path"]), frozenset())
            kept = [part for part in query.split(b"&") if part not in omitted]
            scope = {**scope, "query_string": b"&".join(kept)}
        await self._app(scope, receive, send)
