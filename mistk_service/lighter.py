"""Loading Connexion without the libraries that it uses where this service does not.

A third of the time that Connexion takes to load goes into them: it fetches schemas and tokens over HTTP (requests, httpx),
and has a client for tests. While it is loaded, something stands in their place that loads them when it is used.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, cast

__all__ = ["without", "without_the_unused"]

_TEST_CLIENT = "starlette.testclient"
_UNUSED = ("httpx", "requests", _TEST_CLIENT)


class _NotLoaded(ModuleType):
    """In the place of a module, until it is asked for something that the module has."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # the import system asks for what only some modules have
        _clear(self)
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def without_the_unused() -> Iterator[None]:
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


@contextmanager
def without(name: str) -> Iterator[None]:
    """Have a library that is optional to whoever is loaded meanwhile look as if it were not installed.

    This holds for every thread, so it is for a process that has no other yet. What is loaded already stays.
    """
    hidden = name not in sys.modules
    if hidden:
        sys.modules[name] = cast("ModuleType", None)  # for which an import raises ImportError
    try:
        yield
    finally:
        if hidden:
            del sys.modules[name]


def _clear(place: _NotLoaded) -> None:
    """Let the next import load the module itself."""
    if sys.modules.get(place.__name__) is place:
        del sys.modules[place.__name__]


def _test_client(*arguments: Any, **options: Any) -> Any:
    return importlib.import_module(_TEST_CLIENT).TestClient(*arguments, **options)
