"""Applications that are served from a thread, for tests that need a server but no process."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import uvicorn

from mistk_service.web.listening import bind, url_of


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.begun = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.begun.set()


@contextlib.contextmanager
def served(app: Any, **options: Any) -> Iterator[str]:
    """Serve an ASGI application on a free port of loopback, and return its URL.

    Args:
        app: the application.
        options: for uvicorn, such as ``ssl_certfile``.
    """
    with bind("127.0.0.1", 0) as sock:
        config = uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=1, **options)
        server = _Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        try:
            assert server.begun.wait(30), "the server has not begun"
            url = url_of(sock)
            yield url.replace("http://", "https://") if "ssl_certfile" in options else url
        finally:
            server.should_exit = True
            thread.join()


class Switched:
    """Stands for whatever it is pointed to at the moment: an expensive application for many cheap stores."""

    def __init__(self) -> None:
        self.target: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.target, name)
