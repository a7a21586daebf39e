"""A call of an operation, which a door passes to the core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: URIs of models and files in the service's own tracking store.
STORE_URIS = ("models:/", "runs:/")


@dataclass(frozen=True)
class Call:
    """The arguments of an operation's hook, and the paths to check before the operation is accepted.

    Attributes:
        arguments: the arguments of the hook, by position.
        reads: the paths or URIs that must be readable, by the name of the field for error messages.
        writes: the folders that must be writable, by the name of the field for error messages.
        operation: the requested operation, if it is not that of the path.
        caller: the name of the account that calls; None if clients do not log in.
    """

    arguments: tuple[Any, ...] = ()
    reads: Mapping[str, str] = field(default_factory=dict)
    writes: Mapping[str, str] = field(default_factory=dict)
    operation: str | None = None
    caller: str | None = None
