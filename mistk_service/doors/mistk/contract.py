"""The contracts of the lifecycle APIs, each read once."""

from __future__ import annotations

from functools import cache
from typing import Any

from mistk_service.resources import contract_path

__all__ = ["load_contract"]


@cache
def load_contract(name: str) -> Any:
    """Return a contract, which is not to be changed.

    Args:
        name: the name of its file.

    Raises:
        ContractNotFound: this installation does not have it.
    """
    # Whoever only names this function, before the service listens, does without it.
    import yaml

    # libyaml, where PyYAML was built with it, takes a tenth of the time.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with contract_path(name).open(encoding="utf-8") as file:
        return yaml.load(file, loader)  # noqa: S506 - both are safe loaders
