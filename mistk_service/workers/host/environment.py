"""The environment of a worker: the variables of the service, without its secrets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

#: Prefixes of the variables with which the service, or a library in it, authenticates.
_OWNERS = ("MLFLOW_", "AWS_", "MISTK_", "RAY_")

#: Parts of the names of those variables that are secret.
_SECRET = ("TOKEN", "PASSWORD", "SECRET", "KEY", "CREDENTIAL")


def worker_environment(environment: Mapping[str, str], listed: Collection[str] = ()) -> dict[str, str]:
    """Return the environment variables for a worker.

    Args:
        environment: the variables of the service.
        listed: the names of secret variables to keep.
    """
    return {name: value for name, value in environment.items() if name in listed or not _is_secret(name, value)}


def _is_secret(name: str, value: str) -> bool:
    if not name.startswith(_OWNERS):
        return False
    return any(part in name for part in _SECRET) or any(map(_has_login, value.split()))


def _has_login(address: str) -> bool:
    """Return whether a URL contains a user name or a password. A malformed URL counts as if it did."""
    try:
        return "@" in urlsplit(address).netloc
    except ValueError:
        return True
