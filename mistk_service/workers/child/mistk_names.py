"""Makes MISTK's names importable: ``import mistk...`` gives the modules of :mod:`mistk_service.mistk_names`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_THEIRS, _OURS = "mistk", "mistk_service.mistk_names"


class _Finder(MetaPathFinder, Loader):
    """Finds a module under MISTK's name, and loads the corresponding module."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:  # noqa: ARG002
        """Return the spec of a module, if it has one of MISTK's names."""
        if fullname != _THEIRS and not fullname.startswith(f"{_THEIRS}."):
            return None
        found = importlib.util.find_spec(_ours(fullname))
        if found is None:
            return None
        return ModuleSpec(fullname, self, is_package=found.submodule_search_locations is not None)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module, which is the same under both names."""
        return importlib.import_module(_ours(spec.name))

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing, since the module has been executed under its own name."""


def _ours(name: str) -> str:
    return _OURS + name.removeprefix(_THEIRS)


_FINDER = _Finder()


def install() -> None:
    """Make the names importable, unless MISTK itself is installed: Python asks its own finders first."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.append(_FINDER)
