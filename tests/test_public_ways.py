"""Tests use what is public: none reads another object's underscore, or replaces what a module of the package holds."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILES = sorted([*(ROOT / "tests").rglob("*.py"), *(ROOT / "plugins").rglob("tests/*.py")])

#: How often each file still does so. These only become fewer.
STILL: dict[str, int] = {
    "plugins/digits/tests/test_prediction.py": 1,
    "plugins/text_generator/tests/test_model.py": 4,
    "tests/client/test_client.py": 1,
    "tests/client/test_stream.py": 4,
    "tests/core/test_endings.py": 2,
    "tests/core/test_failures.py": 1,
    "tests/core/test_machine.py": 1,
    "tests/core/test_stream_predictions.py": 1,
    "tests/kinds/model/test_base.py": 4,
    "tests/recording/test_data.py": 1,
    "tests/recording/test_lifecycle.py": 1,
    "tests/recording/test_recorder.py": 8,
    "tests/recording/test_system.py": 1,
    "tests/support/harness.py": 2,
    "tests/test_resources.py": 1,
    "tests/tracking/artifacts/test_repositories.py": 1,
    "tests/tracking/cli/test_cli.py": 1,
    "tests/tracking/mlops/test_iterations.py": 1,
    "tests/tracking/mlops/test_process.py": 4,
    "tests/tracking/mlops/test_workspace.py": 1,
    "tests/tracking/replication/test_real_remotes.py": 2,
    "tests/tracking/replication/test_replicator.py": 1,
    "tests/tracking/sql/test_checkpoints.py": 4,
    "tests/tracking/sql/test_journal.py": 1,
    "tests/tracking/sql/test_schema.py": 3,
    "tests/tracking/test_docs.py": 2,
    "tests/web/contract/test_validation.py": 13,
    "tests/workers/child/test_back_pressure.py": 4,
    "tests/workers/child/test_context.py": 3,
    "tests/workers/child/test_plain_values.py": 6,
    "tests/workers/child/test_spool.py": 3,
    "tests/workers/test_workers.py": 5,
}


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
    counted = Counter(violation.partition(":")[0] for violation in found)
    assert counted <= Counter(STILL), "\n".join(found)
