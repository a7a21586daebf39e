"""Parameters that are sent and mean nothing: MISTK's generated clients write ``modelPath=None`` where none was given."""

from __future__ import annotations

from typing import Any

from connexion.http_facts import METHODS
from connexion.middleware import SpecMiddleware
from connexion.spec import Specification
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["OmittedParameters"]


class OmittedParameters(SpecMiddleware):  # type: ignore[misc]
    """ASGI middleware: takes optional query parameters that are empty or ``None`` out of requests.

    Args:
        app: what gets the request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        #: What may be left out of a query, by method and path.
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
        await self._app(self.without_omitted(scope) if scope["type"] == "http" else scope, receive, send)

    def without_omitted(self, scope: Scope) -> Scope:
        """Return the head of a request without what stands in its query and was not given."""
        query: bytes = scope["query_string"]
        if b"=None" not in query and b"=&" not in query and not query.endswith(b"="):
            return scope
        omitted = self._omitted.get((scope["method"], scope["path"]), frozenset())
        kept = [part for part in query.split(b"&") if part not in omitted]
        return {**scope, "query_string": b"&".join(kept)}
