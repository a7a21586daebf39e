"""Who may import whom: nothing imports upward, and a library stays with those whose business it is."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import mistk_service

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "mistk_service"

#: The modules and packages from the lowest to the highest; one imports from lines above its own, and from itself. What is
#: new gets its place here. ``mistk_service`` is the front door, which a model's author uses and the service does not.
LAYERS = (
    {"errors"},
    {"schemas", "json_limits", "logs"},
    {"states", "settings", "model", "resources", "paths", "sockets", "lighter", "memory", "origins", "probe"},
    {"prerequisites"},
    {"events", "command_line"},
    {"mistk_service", "loader", "machine", "serving"},
    {"status"},
    {"worker"},
    {"reports"},
    {"streams", "supervisor"},
    {"instance"},
    {"controller"},
    {"tracking"},
    {"dashboard"},
    {"web"},
    {"server"},
    {"client"},
    {"demo"},
    {"cli"},
    {"__main__"},
)
LEVEL = {unit: level for level, units in enumerate(LAYERS) for unit in units}

#: What a unit may take from the service where that is less than everything below it.
ONLY = {
    "dashboard": set(),  # a consumer of the public API, like any other
    "tracking": {
        "command_line",
        "errors",
        "events",
        "json_limits",
        "lighter",
        "logs",
        "memory",
        "mistk_service",
        "origins",
        "paths",
        "resources",
        "serving",
        "sockets",
    },
    "client": {"errors", "schemas", "states", "mistk_service"},
}

#: The units that may use a library.
OWNERS = {
    "a2wsgi": {"web", "tracking"},
    "aiohttp": set(),
    "alembic": {"tracking"},
    "click": {"cli", "command_line", "tracking"},
    "connexion": {"web", "tracking"},
    "flask": {"dashboard"},
    "h11": {"serving"},
    "httptools": {"serving"},
    "httpx": {"client", "demo", "tracking"},
    "prometheus_client": {"web", "tracking"},
    "psutil": {"tracking"},
    "pynvml": {"tracking"},
    "requests": set(),
    "rich": {"cli", "demo", "tracking"},
    "sqlalchemy": {"tracking"},
    "starlette": {"serving", "tracking", "web"},
    "transitions": {"machine"},
    "urllib3": set(),
    "uvicorn": {"server", "serving", "tracking"},
    "werkzeug": {"dashboard"},
}

FILES = sorted(PACKAGE.rglob("*.py"))
PLUGIN_FILES = sorted((ROOT / "plugins").rglob("*.py"))


def dotted_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted_name(file): file for file in FILES}


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """Everything that a file imports, also within functions: dotted names of modules, with the line."""
    package = dotted_name(file).split(".")
    if file.name != "__init__.py":
        package.pop()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                name = f"{module}.{alias.name}"
                yield (name if name in MODULES else module), node.lineno


def unit_of(module: str) -> str:
    """The module or package directly below ``mistk_service`` that a dotted name belongs to."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def relative(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def own_imports(file: Path) -> list[tuple[str, int]]:
    return [(name, line) for name, line in imports(file) if name.split(".")[0] == "mistk_service"]


def test_the_rule_looks_at_something() -> None:
    assert len(FILES) > 20
    assert sum(len(own_imports(file)) for file in FILES) > 50


@pytest.mark.parametrize("file", FILES, ids=relative)
def test_every_module_has_its_place(file: Path) -> None:
    unit = unit_of(dotted_name(file))
    assert unit in LEVEL, f"{unit} stands in no layer of {Path(__file__).name}"


@pytest.mark.parametrize("file", FILES, ids=relative)
def test_nothing_imports_upward(file: Path) -> None:
    unit = unit_of(dotted_name(file))
    upward = [
        f"line {line}: {name}"
        for name, line in own_imports(file)
        if unit_of(name) != unit and LEVEL[unit_of(name)] >= LEVEL[unit]
    ]
    assert upward == []


@pytest.mark.parametrize("file", [file for file in FILES if unit_of(dotted_name(file)) in ONLY], ids=relative)
def test_what_stands_apart_takes_little_from_the_service(file: Path) -> None:
    unit = unit_of(dotted_name(file))
    taken = {unit_of(name) for name, _ in own_imports(file)} - {unit}
    assert taken <= ONLY[unit]


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        name: {imported for imported, _ in own_imports(file) if imported in MODULES and imported != name}
        for name, file in MODULES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("file", FILES, ids=relative)
def test_a_library_stays_with_those_whose_business_it_is(file: Path) -> None:
    unit = unit_of(dotted_name(file))
    strangers = [
        f"line {line}: {name}"
        for name, line in imports(file)
        if (library := name.split(".")[0]) in OWNERS and unit not in OWNERS[library]
    ]
    assert strangers == []


@pytest.mark.parametrize("file", PLUGIN_FILES, ids=relative)
def test_a_plugin_uses_the_front_door_alone(file: Path) -> None:
    assert [f"line {line}: {name}" for name, line in own_imports(file) if name != "mistk_service"] == []


@pytest.mark.parametrize("file", PLUGIN_FILES, ids=relative)
def test_a_plugin_uses_public_names_alone(file: Path) -> None:
    names = [
        alias.name
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "mistk_service"
        for alias in node.names
    ]
    assert [name for name in names if name not in mistk_service.__all__] == []


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "statement",
    [
        "import mistk_service",
        "import mistk_service.worker.child",
        "import mistk_service.worker.child, mistk_service.loader as loader\n"
        "loader.load_model_class('plugins/digits/model.py:Digits')",
    ],
    ids=["the front door", "the worker", "the worker with a model"],
)
def test_the_worker_loads_only_what_a_model_needs(statement: str) -> None:
    loaded = loaded_by(statement)
    own = {unit_of(name) for name in loaded if name.split(".")[0] == "mistk_service"}
    assert {unit for unit in own if LEVEL[unit] > LEVEL["worker"]} == set()
    assert "status" not in own
    assert {name.split(".")[0] for name in loaded} & OWNERS.keys() == set()


def test_the_service_listens_before_it_loads_what_takes_long():
    loaded = loaded_by("import mistk_service.cli, mistk_service.server")
    late = {"connexion", "flask", "httpx", "jsonschema", "requests", "rich", "sqlalchemy", "werkzeug", "yaml"}
    assert {name.split(".")[0] for name in loaded} & late == set()
