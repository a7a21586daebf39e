"""Starting an ASGI application that no server starts."""

from __future__ import annotations

from starlette.types import ASGIApp


async def run_lifespan(app: ASGIApp) -> None:
    """Let an application start, and end its lifespan at once. Connexion builds its routers and validators then."""
    messages = iter(({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}))

    async def receive() -> dict[str, str]:
        return next(messages)

    async def send(message: object) -> None:
        pass

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
