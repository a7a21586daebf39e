"""Query parameters without a value: MISTK's generated clients send ``modelPath=None`` for a parameter that is not given."""

from __future__ import annotations

from typing import Any

from connexion.http_facts import METHODS
from connexion.middleware import SpecMiddleware
from connexion.spec import Specification
from starlette.types import ASGIApp, Receive, Scope, Send


class OmittedParameters(SpecMiddleware):  # type: ignore[misc]
    """ASGI middleware: removes optional query parameters that are empty or ``None`` from requests."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        #: The parts of a query that mean nothing, by method and path.
        self._omitted: dict[tuple[str, str], frozenset[bytes]] = {}

    def add_api(self, specification: Specification, **_: Any) -> None:
        """Learn which parameters are optional."""
        for path, methods in specification.get("paths", {}).items():
            for method in METHODS & methods.keys():
                parameters = (each for each in methods[method].get("parameters", ()) if each["in"] == "query")
                optional = [each["name"].encode() for each in parameters if not each.get("required")]
                self._omitted[method.upper(), f"{specification.base_path}{path}"] = frozenset(
                    name + value for name in optional for value in (b"=", b"=None")
                )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        query: bytes = scope.get("query_string", b"")
        if b"=None" in query or b"=&" in query or query.endswith(b"="):
            omitted = self._omitted.get((scope["method"], scope["path"]), frozenset())
            kept = [part for part in query.split(b"&") if part not in omitted]
            scope = {**scope, "query_string": b"&".join(kept)}
        await self._app(scope, receive, send)
