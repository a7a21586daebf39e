"""A page of results."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Page"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of the results of a search, and how to get at the rest.

    Attributes:
        items: the results, in order.
        next_page_token: what to ask for the next page with, or None where this is the last. It says where this page
            ended, not how many results came before, so results that are added or removed between two pages neither
            repeat nor hide others.
    """

    items: tuple[T, ...]
    next_page_token: str | None = None

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)
