"""Detects the kind of container from the class, before the class is loaded.

The service listens while a large class is still being imported, and only the worker imports it. So the class's base is read
from the source. If the source does not show it, as for a class that a function creates, a separate process imports the
class.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import PathFinder
from pathlib import Path

from mistk_service.kinds import KINDS, Kind, kind_at
from mistk_service.workers.child.loader import import_folder, split_reference

#: Prints where the kind of a class is.
_ASK = (
    "import sys; from mistk_service.workers.child.loader import load_model_class as load; "
    "print('\\n' + load(sys.argv[1])._mistk_kind)"
)


def detected_kind(reference: str, environment: Mapping[str, str]) -> Kind:
    """Return the kind of the class that a reference names.

    A class that cannot be loaded counts as a model; its worker reports what is wrong with it.

    Args:
        reference: the reference to the class.
        environment: the environment of the worker.

    Raises:
        BadModelReference: the reference is malformed.
    """
    module, name = split_reference(reference)
    file = Path(module).expanduser().absolute() if module.endswith(".py") else None
    folders = [str(Path.cwd()) if file is None else str(import_folder(file)), *sys.path]
    base = _Source(folders).base_of(file or _Source(folders).file_of(module), name)
    if base is not None:
        return kind_at(KINDS[base])
    answer = subprocess.run(
        [sys.executable, "-c", _ASK, reference],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return kind_at(KINDS["AbstractModel"] if answer.returncode else answer.stdout.decode().splitlines()[-1])


class _Source:
    """Follows the bases of a class through the files that define them.

    Args:
        folders: where modules are searched.
    """

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = folders
        self._seen: set[tuple[Path, str]] = set()

    def base_of(self, file: Path | None, name: str) -> str | None:
        """Return the name of the base class of a kind that the class ``name`` in a file descends from, if that is written."""
        if file is None or (file, name) in self._seen:
            return None
        self._seen.add((file, name))
        try:
            tree = ast.parse(file.read_bytes())
        except (OSError, SyntaxError, ValueError):
            return None
        origins = [origin for node in tree.body for origin in self._origins(node, name, file, tree.body)]
        known = [origin_name for _, origin_name in origins if origin_name in KINDS]
        found = known or [base for each in origins if (base := self.base_of(*each)) is not None]
        return found[0] if found else None

    def _origins(
        self, node: ast.stmt, name: str, file: Path, body: Sequence[ast.stmt]
    ) -> Iterator[tuple[Path | None, str]]:
        """Yield the file and the name of what a statement defines ``name`` by: its bases, or what it is imported as."""
        if isinstance(node, ast.ClassDef) and node.name == name:
            for base in node.bases:
                if isinstance(base, ast.Name):
                    yield file, base.id
                elif isinstance(base, ast.Attribute):
                    yield self._module(ast.unparse(base.value), file, body), base.attr
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if alias.name == "*" or name == (alias.asname or alias.name):
                    yield self._imported(node, file), name if alias.name == "*" else alias.name

    def _module(self, name: str, file: Path, body: Sequence[ast.stmt]) -> Path | None:
        """Return the file of the module that the statements of a file import as ``name``."""
        for node in body:
            for alias in node.names if isinstance(node, ast.Import | ast.ImportFrom) else ():
                if name == (alias.asname or alias.name):
                    if not isinstance(node, ast.ImportFrom):
                        return self.file_of(alias.name)
                    package = self._imported(node, file)
                    return None if package is None else self.file_of(alias.name, [str(package.parent)])
        return None

    def _imported(self, node: ast.ImportFrom, file: Path) -> Path | None:
        if not node.level:
            return self.file_of(node.module or "")
        folder = file.parents[node.level - 1]
        return self.file_of(node.module, [str(folder)]) if node.module else folder / "__init__.py"

    def file_of(self, module: str, folders: Sequence[str] | None = None) -> Path | None:
        """Return the file of a module, without importing the packages that it belongs to."""
        found = None
        for part in module.split("."):
            spec = PathFinder.find_spec(part, list(self._folders if folders is None else folders))
            if spec is None:
                return None
            found, folders = spec.origin, list(spec.submodule_search_locations or ())
        return None if found is None else Path(found)
