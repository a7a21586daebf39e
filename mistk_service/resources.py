"""Locates the package's files that are not Python code: the API contracts and the example models.

In a wheel they are inside the package, under ``_shipped``. In a checkout, which an editable install refers to, they are in the
top folder, where developers look for them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from mistk_service.errors import ContractNotFound

_PACKAGE = Path(__file__).resolve().parent
_CONTRACT = "mistk-api.yaml"


def contract_path(name: str = _CONTRACT) -> Path:
    """Return the path of an API contract, by the name of its file.

    Raises:
        ContractNotFound: the contract is missing from this installation.
    """
    return _existing("api", name)


@cache
def load_contract(name: str = _CONTRACT) -> dict[str, Any]:
    """Return an API contract, by the name of its file. It is read once and must not be changed.

    Raises:
        ContractNotFound: the contract is missing from this installation.
    """
    # Imported here, since the service imports this module before it listens.
    import yaml

    # libyaml, if PyYAML was built with it, takes a tenth of the time.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with contract_path(name).open("rb") as file:
        contract: dict[str, Any] = yaml.load(file, loader)  # noqa: S506 - both are safe loaders
    return contract


def plugins_path() -> Path:
    """Return the folder with the example models, one folder each.

    Raises:
        ContractNotFound: the example models are missing from this installation.
    """
    return _existing("plugins")


def _existing(*parts: str) -> Path:
    """Return the path of a file or folder in the first location that has it.

    A location only counts if it contains the contracts. The folder that contains an installed package also contains other
    packages, and a folder named ``plugins`` is common there.
    """
    places = (_PACKAGE / "_shipped", _PACKAGE.parent)
    for place in places:
        path = place.joinpath(*parts)
        if (place / "api" / _CONTRACT).is_file() and path.exists():
            return path
    wanted = "/".join(parts)
    looked = " and ".join(str(place) for place in places)
    raise ContractNotFound(
        f"{wanted} is missing from this installation of mistk-service; it was looked for in {looked}. "
        "Install the package again, or run it from a complete checkout."
    )
