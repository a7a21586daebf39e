"""Imports follow the order of the layers, and each library belongs to some modules."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import mistk_service

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "mistk_service"

#: The parts of the package from the lowest to the highest; one imports from lines above its own, and from itself.
LAYERS = (
    {"errors", "logs", "deadline"},
    {"command_line", "process_exit"},
    {"resources"},
    {"kinds"},
    {"mistk_service", "mistk_names", "web"},  # the author's door, and what both products share
    {"page"},
    {"tracking"},
    {"workers"},
    {"core", "pyfunc"},
    {"recording"},
    {"doors"},
    {"client"},
    {"harness"},
    {"app"},
    {"integrations"},
    {"__main__"},
)

#: The parts of tracking, likewise. ``tracking`` is its own door.
TRACKING_LAYERS = (
    {"errors"},
    {"values", "filters"},
    {"store", "wire"},
    {"artifacts"},
    {"remotes"},
    {"sql", "rest"},
    {"opening"},
    {"tracking", "lookup"},
    {"replication"},
    {"mlops"},
    {"server", "garbage"},
    {"embedded"},
    {"cli"},
)

#: What a part may take from the package where that is less than everything below it.
ONLY = {
    "page": {"mistk_service", "web"},  # a client of the public APIs like any other
    # The other product: it knows nothing of the container.
    "tracking": {"command_line", "deadline", "errors", "logs", "page", "process_exit", "resources", "web"},
    "client": {"errors", "kinds", "mistk_service"},
    "harness": {"client", "errors", "kinds", "process_exit", "resources"},  # a client of containers
    "web": {"deadline", "errors", "logs", "process_exit", "resources"},
    "kinds": {"errors", "resources"},
    "mistk_names": {"kinds"},
    "workers": {"deadline", "errors", "kinds", "logs"},
    "core": {"deadline", "errors", "kinds", "logs", "workers"},
}

#: The same inside tracking.
TRACKING_ONLY = {
    # It knows a store by its contract, the outbox included, and not by its tables.
    "replication": {"artifacts", "errors", "lookup", "remotes", "rest", "store", "values"},
}

#: The parts that may use a library.
OWNERS = {
    "aiohttp": set(),
    "alembic": {"tracking"},
    "argon2": {"web"},
    "click": {"app", "command_line", "harness", "tracking"},
    "connexion": {"web"},
    "flask": set(),
    "grpc": {"doors"},
    "grpc_health": {"doors"},
    "h11": set(),
    "httptools": {"web"},
    "httpx": {"app", "client", "tracking"},
    "prometheus_client": {"doors", "tracking"},
    "psutil": {"recording"},
    "pynvml": {"recording"},
    "ray": {"integrations", "workers"},
    "requests": set(),
    "rich": {"app", "harness", "tracking"},
    "sqlalchemy": {"tracking"},
    "starlette": {"app", "doors", "integrations", "page", "tracking", "web"},
    "transitions": {"core"},
    "urllib3": set(),
    "uvicorn": {"app", "tracking", "web"},
    "werkzeug": set(),
}


def dotted_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted_name(file): file for file in sorted(PACKAGE.rglob("*.py"))}
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))


@cache
def imports(file: Path) -> tuple[tuple[str, str], ...]:
    """Everything that a file imports, also within functions: the dotted name of the module, and where."""
    return tuple(_imports(file))


def _imports(file: Path) -> Iterator[tuple[str, str]]:
    package = dotted_name(file).split(".")
    if file.name != "__init__.py":
        package.pop()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        place = f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            yield from ((alias.name, place) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                name = f"{module}.{alias.name}"
                yield (name if name in MODULES else module), place


def own_imports(file: Path) -> Iterator[tuple[str, str]]:
    return ((name, place) for name, place in imports(file) if name.split(".")[0] == "mistk_service")


def part_of(module: str, below: str = "mistk_service") -> str:
    """The module or package directly below ``below`` that a dotted name belongs to; its own last name for itself."""
    rest = module.removeprefix(below).lstrip(".")
    return rest.split(".")[0] if rest else below.rsplit(".", 1)[-1]


def upward(layers: tuple[set[str], ...], below: str) -> list[str]:
    """The imports below a package that do not lead to a lower layer, and the modules that stand in none."""
    level = {part: number for number, parts in enumerate(layers) for part in parts}
    wrong = []
    for module, file in MODULES.items():
        if not f"{module}.".startswith(f"{below}."):
            continue
        part = part_of(module, below)
        if part not in level:
            wrong.append(f"{module} stands in no layer")
            continue
        for name, place in own_imports(file):
            other = part_of(name, below)
            if f"{name}.".startswith(f"{below}.") and other != part and level.get(other, 99) >= level[part]:
                wrong.append(f"{place} imports {name}")
    return wrong


def test_the_rules_look_at_something() -> None:
    assert len(MODULES) > 100
    assert sum(len(list(own_imports(file))) for file in MODULES.values()) > 500


def test_nothing_imports_upward() -> None:
    assert upward(LAYERS, "mistk_service") == []


def test_nothing_imports_upward_inside_tracking() -> None:
    assert upward(TRACKING_LAYERS, "mistk_service.tracking") == []


def test_a_part_that_stands_apart_takes_little_from_the_package() -> None:
    wrong = [
        f"{place} imports {name}"
        for module, file in MODULES.items()
        for name, place in own_imports(file)
        if (part := part_of(module)) in ONLY and part_of(name) not in ONLY[part] | {part}
    ]
    assert wrong == []


def test_a_part_of_tracking_that_stands_apart_takes_little_from_the_others() -> None:
    tracking = "mistk_service.tracking"
    wrong = [
        f"{place} imports {name}"
        for module, file in MODULES.items()
        if (part := part_of(module, tracking)) in TRACKING_ONLY and module.startswith(f"{tracking}.")
        for name, place in own_imports(file)
        if name.startswith(f"{tracking}.") and part_of(name, tracking) not in TRACKING_ONLY[part] | {part}
    ]
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        name: {imported for imported, _ in own_imports(file) if imported in MODULES and imported != name}
        for name, file in MODULES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_a_library_stays_with_the_parts_that_own_it() -> None:
    wrong = [
        f"{place} imports {name}"
        for module, file in MODULES.items()
        for name, place in imports(file)
        if (library := name.split(".")[0]) in OWNERS and part_of(module) not in OWNERS[library]
    ]
    assert wrong == []


def test_a_plugin_uses_public_names_of_the_author_s_door_alone() -> None:
    wrong = []
    for file in PLUGINS:
        wrong += [f"{place} imports {name}" for name, place in own_imports(file) if name != "mistk_service"]
        wrong += [
            f"{file.relative_to(ROOT)}:{node.lineno} imports {alias.name}"
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom) and node.module == "mistk_service"
            for alias in node.names
            if alias.name not in mistk_service.__all__
        ]
    assert wrong == []


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def parts_loaded(loaded: set[str]) -> set[str]:
    return {part_of(name) for name in loaded if name.split(".")[0] == "mistk_service"} - {"mistk_service"}


@pytest.mark.parametrize(
    "statement",
    [
        "import mistk_service",
        "import mistk_service.workers.child.main",
        "import mistk_service.workers.child.main, mistk_service.workers.child.loader as loader\n"
        "loader.load_model_class('plugins/digits/model.py:Digits')",
    ],
    ids=["the front door", "the worker", "the worker with a model"],
)
def test_the_worker_loads_only_what_a_model_needs(statement: str) -> None:
    loaded = loaded_by(statement)
    assert parts_loaded(loaded) <= {"errors", "kinds", "logs", "workers"}
    assert not [name for name in loaded if name.startswith("mistk_service.workers.host.")]
    assert {name.split(".")[0] for name in loaded} & OWNERS.keys() == set()


def test_tracking_loads_nothing_of_the_container() -> None:
    parts = ("server", "mlops", "cli.commands")
    loaded = loaded_by("import " + ", ".join(f"mistk_service.tracking.{part}" for part in parts))
    assert parts_loaded(loaded) <= {
        "command_line",
        "deadline",
        "errors",
        "kinds",
        "logs",
        "page",
        "process_exit",
        "resources",
        "tracking",
        "web",
    }


def test_the_service_listens_before_it_loads_what_takes_long() -> None:
    loaded = loaded_by("import mistk_service.app.cli, mistk_service.app.container")
    late = {"connexion", "flask", "httpx", "jsonschema", "requests", "rich", "sqlalchemy", "werkzeug", "yaml"}
    assert {name.split(".")[0] for name in loaded} & late == set()
    # The tracking server is made on a thread of its own, which nobody waits for.
    assert "sqlalchemy" not in loaded_by("import mistk_service.app.asgi")
