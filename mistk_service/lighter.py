"""Loading a library without another one that it would bring."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import cast

__all__ = ["without"]


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
