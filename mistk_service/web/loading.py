"""The application with everything that it takes, loaded no sooner than it is asked for, and without what nobody asks for.

Of the time that Connexion takes to load, a third goes into libraries that it uses where the service does not: it fetches
schemas and tokens over HTTP (requests, httpx), and has a client for tests. While it is loaded, something stands in their place
that loads them when it is used.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from starlette.types import ASGIApp

from mistk_service.controller import Controller
from mistk_service.settings import Settings
from mistk_service.web.metrics import ServiceMetrics
from mistk_service.web.tracking import EmbeddedTracking

__all__ = ["load_app"]

_TEST_CLIENT = "starlette.testclient"
_UNUSED = ("httpx", "requests", _TEST_CLIENT)


def load_app(
    controller: Controller, settings: Settings, metrics: ServiceMetrics, version: str, tracking: EmbeddedTracking | None
) -> ASGIApp:
    """Load what takes longest, and return the application; see :func:`mistk_service.web.app.create_app`."""
    with warnings.catch_warnings(), _without_the_unused():
        # Connexion uses what jsonschema would like it to use no more; no user can act on that.
        warnings.simplefilter("ignore", DeprecationWarning)
        from mistk_service.web.app import create_app
    return create_app(controller, settings, metrics, version, tracking)


class _NotLoaded(ModuleType):
    """In the place of a module, until it is asked for something that the module has."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # the import system asks for what only some modules have
        _clear(self)
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def _without_the_unused() -> Iterator[None]:
    """Have the unused modules not loaded by whoever imports them meanwhile, unless they are loaded already."""
    places = [_NotLoaded(name) for name in _UNUSED if name not in sys.modules]
    for place in places:
        if place.__name__ == _TEST_CLIENT:
            vars(place)["TestClient"] = _test_client  # which Connexion imports by its name
        sys.modules[place.__name__] = place
    try:
        yield
    finally:
        for place in places:
            _clear(place)


def _clear(place: _NotLoaded) -> None:
    """Let the next import load the module itself."""
    if sys.modules.get(place.__name__) is place:
        del sys.modules[place.__name__]


def _test_client(*arguments: Any, **options: Any) -> Any:
    return importlib.import_module(_TEST_CLIENT).TestClient(*arguments, **options)
