"""Where the files are that belong to the package and are no Python: the API contracts and the example models.

In a wheel they lie inside the package, under ``_shipped``; in a checkout, which an editable install points to, they lie
at its top, where people look for them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from mistk_service.errors import ContractNotFound

__all__ = ["contract_path", "load_contract", "plugins_path"]

_PACKAGE = Path(__file__).resolve().parent
_CONTRACT = "mistk-api.yaml"


def contract_path(name: str = _CONTRACT) -> Path:
    """Return the path of an API contract.

    Args:
        name: the name of its file.

    Raises:
        ContractNotFound: this installation does not have it.
    """
    return _existing("api", name)


@cache
def load_contract(name: str = _CONTRACT) -> dict[str, Any]:
    """Return an API contract, which is read once and must not be changed.

    Args:
        name: the name of its file.

    Raises:
        ContractNotFound: this installation does not have it.
    """
    # Loaded late, since the service imports this module before it listens.
    import yaml

    # libyaml, where PyYAML was built with it, takes a tenth of the time.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with contract_path(name).open("rb") as file:
        contract: dict[str, Any] = yaml.load(file, loader)  # noqa: S506 - both are safe loaders
    return contract


def plugins_path() -> Path:
    """Return the folder with the example models, one folder each.

    Raises:
        ContractNotFound: this installation does not have it.
    """
    return _existing("plugins")


def _existing(*parts: str) -> Path:
    """Return the path of a file or folder of the first place that has it.

    A place counts only if it holds the contract: what lies beside an installed package belongs to others, and a folder
    ``plugins`` is nothing unusual there.
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
