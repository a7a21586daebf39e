"""The shipped files are found in a wheel and in a checkout, and nowhere else."""

from __future__ import annotations

import importlib.util
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from mistk_service import resources
from mistk_service.errors import ContractNotFound

ROOT = Path(__file__).parents[1]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """An installation without files, in which a test puts what it wants to be there."""
    package = tmp_path / "site" / "mistk_service"
    package.mkdir(parents=True)
    shutil.copy(resources.__file__, package)
    return package


@pytest.fixture
def installed(package: Path) -> Any:
    """The module in that installation."""
    spec = importlib.util.spec_from_file_location("installed_resources", package / "resources.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def put(place: Path) -> Path:
    """Lay down a contract and a folder of plugins."""
    (place / "api").mkdir(parents=True)
    (place / "api" / "mistk-api.yaml").write_text("swagger: '2.0'\n", encoding="utf-8")
    (place / "plugins" / "digits").mkdir(parents=True)
    return place


def test_the_contract_of_this_checkout_is_found():
    assert resources.contract_path() == ROOT / "api" / "mistk-api.yaml"
    assert resources.plugins_path() == ROOT / "plugins"


def test_an_installed_package_finds_its_files_inside_itself(installed: Any, package: Path):
    shipped = put(package / "_shipped")
    assert installed.contract_path() == shipped / "api" / "mistk-api.yaml"
    assert installed.plugins_path() == shipped / "plugins"


def test_a_checkout_finds_its_files_beside_the_package(installed: Any, package: Path):
    top = put(package.parent)
    assert installed.contract_path() == top / "api" / "mistk-api.yaml"
    assert installed.plugins_path() == top / "plugins"


def test_the_files_inside_the_package_win(installed: Any, package: Path):
    put(package.parent)
    shipped = put(package / "_shipped")
    assert installed.contract_path() == shipped / "api" / "mistk-api.yaml"


def test_a_missing_contract_is_named_with_the_places_and_a_remedy(installed: Any, package: Path):
    put(package.parent)
    with pytest.raises(ContractNotFound) as caught:
        installed.contract_path("mlflow-api.yaml")
    message = str(caught.value)
    assert "api/mlflow-api.yaml is missing" in message
    assert str(package / "_shipped") in message
    assert str(package.parent) in message
    assert "Install the package again" in message


def test_a_folder_of_plugins_that_is_somebody_elses_is_not_taken(installed: Any, package: Path):
    (package.parent / "plugins").mkdir()
    with pytest.raises(ContractNotFound, match="plugins is missing"):
        installed.plugins_path()


def test_the_wheel_puts_the_files_where_they_are_looked_for():
    with (ROOT / "pyproject.toml").open("rb") as file:
        included = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included == {"api": "mistk_service/_shipped/api", "plugins": "mistk_service/_shipped/plugins"}
