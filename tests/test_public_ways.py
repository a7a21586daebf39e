"""Tests use public interfaces: none reads a private attribute of another object, or patches a module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILES = sorted([*(ROOT / "tests").rglob("*.py"), *(ROOT / "plugins").rglob("tests/*.py")])


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def imported_modules(tree: ast.Module) -> set[str]:
    """The names that stand for modules of the package."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mistk_service"):
            for alias in node.names:
                path = ROOT.joinpath(*(node.module or "").split("."), alias.name)
                if path.is_dir() or path.with_suffix(".py").is_file():
                    names.add(alias.asname or alias.name)
    return names


def is_replacement(node: ast.AST, modules: set[str]) -> bool:
    """Whether a node is ``monkeypatch.setattr`` of something that a module of the package holds."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "setattr"):
        return False
    target = node.args[0]
    if isinstance(target, ast.Constant):
        return str(target.value).startswith("mistk_service.")
    return isinstance(target, ast.Name) and target.id in modules


def violations(file: Path) -> Iterator[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    modules = imported_modules(tree)
    for node in ast.walk(tree):
        private = False
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            owner = ast.unparse(node.value)
            private = owner not in ("self", "cls", "super()") and f"{owner}.{node.attr}" != "os._exit"
        elif isinstance(node, ast.ImportFrom):
            private = any(is_private(alias.name) for alias in node.names)
        if private or is_replacement(node, modules):
            yield f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}: {ast.unparse(node)}"


def test_tests_use_what_is_public() -> None:
    found = [violation for file in FILES for violation in violations(file)]
    assert not found, "\n".join(found)
