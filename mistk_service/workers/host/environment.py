"""The environment of a worker: that of the service, without what is secret and not the model's business."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

__all__ = ["worker_environment"]

#: How the names of variables begin that the service itself, or a library in it, logs in with.
_OWNERS = ("MLFLOW_", "AWS_", "MISTK_")

#: Parts of the names of those among them that are secret.
_SECRET = ("TOKEN", "PASSWORD", "SECRET", "KEY", "CREDENTIAL")


def worker_environment(environment: Mapping[str, str], listed: Collection[str] = ()) -> dict[str, str]:
    """Return the variables that a worker gets.

    Args:
        environment: those of the service.
        listed: names of variables that it gets although they are secret.
    """
    return {name: value for name, value in environment.items() if name in listed or not _is_secret(name, value)}


def _is_secret(name: str, value: str) -> bool:
    if not name.startswith(_OWNERS):
        return False
    return any(part in name for part in _SECRET) or any(map(_has_login, value.split()))


def _has_login(address: str) -> bool:
    """Return whether an address has a name or a password in it; one that cannot be understood may have."""
    try:
        return "@" in urlsplit(address).netloc
    except ValueError:
        return True
