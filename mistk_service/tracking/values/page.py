"""Pages of results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Some of the results of a search, and how to get the rest.

    Attributes:
        items: the results, in order.
        next_page_token: the token to request the next page, or None on the last page. It encodes where this
            page ended, so results that are added or removed between two pages neither repeat nor hide others.
    """

    items: tuple[T, ...]
    next_page_token: str | None = None

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def pages(search: Callable[[str | None], Page[T]], token: str | None = None) -> Iterator[Page[T]]:
    """Yield the pages of a search, each of which is requested when the previous one has been consumed.

    Args:
        search: returns the page that belongs to a page token; None stands for the first.
        token: where to begin.
    """
    while True:
        page = search(token)
        yield page
        token = page.next_page_token
        if not token:
            return
