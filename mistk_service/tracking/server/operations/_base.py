"""The base of the operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from mistk_service.tracking.artifacts.locations import Locations
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.values.page import Page
from mistk_service.tracking.wire import Fields

Json = dict[str, Any]
T = TypeVar("T")
Operation = TypeVar("Operation", bound=Callable[..., Any])


class OperationsBase:
    """The operations' store and artifacts."""

    def __init__(self, store: Store, locations: Locations) -> None:
        self._store = store
        self._locations = locations


def brief(method: Operation) -> Operation:
    """Mark an operation that takes less time than a thread switch, so that the event loop tries it first."""
    method.is_brief = True  # type: ignore[attr-defined]  # functions have attributes
    return method


def is_brief(method: Callable[..., Any]) -> bool:
    """Return whether an operation is marked as :func:`brief`."""
    return getattr(method, "is_brief", False)


def run_id_of(fields: Fields) -> str:
    """Return the run id of a request, from the new or the old name of the field.

    Raises:
        InvalidParameter: neither field is there.
    """
    return fields.text("run_id") or fields.text("run_uuid") or fields.required_text("run_id")


def readable(fields: Fields, found: Page[T], owner: Callable[[T], str]) -> Page[T]:
    """Return a page without items that the client may not see; ``owner`` returns the experiment or the model of an item."""
    if fields.visible is None:
        return found
    return Page(tuple(item for item in found if fields.visible(owner(item))), found.next_page_token)


def readable_experiments(fields: Fields) -> list[str]:
    """Return the experiments in a search, without those that the client may not see."""
    named = fields.texts("experiment_ids")
    return named if fields.visible is None else [each for each in named if fields.visible(each)]


def page(name: str, found: Page[T], wire: Callable[[T], Any]) -> Json:
    """Return a page of a search as JSON; an empty list and an absent token are left out."""
    answer: Json = {}
    if found.items:
        answer[name] = [wire(item) for item in found]
    if found.next_page_token:
        answer["next_page_token"] = found.next_page_token
    return answer
