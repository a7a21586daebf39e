"""A call of an operation, as a door hands it to the core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Call"]


@dataclass(frozen=True)
class Call:
    """The arguments of an operation's hook, and the places that have to be usable before it is accepted.

    Attributes:
        arguments: of the hook, by position.
        reads: the paths or URIs that must be readable, by the field that errors name.
        writes: the folders that must be writable, likewise.
    """

    arguments: tuple[Any, ...] = ()
    reads: Mapping[str, str] = field(default_factory=dict)
    writes: Mapping[str, str] = field(default_factory=dict)
