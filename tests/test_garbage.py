"""What is loaded at the start is passed over by the collector, and what comes later is not."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from mistk_service.garbage import loading


class Node:
    """Refers to itself, so that only the collector can free it."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """Leave the collector as it was."""
    frozen = gc.get_freeze_count()
    yield
    gc.enable()
    if gc.get_freeze_count() != frozen:
        gc.unfreeze()


def test_what_is_loaded_stays_and_what_comes_later_is_collected():
    with loading():
        assert not gc.isenabled()
        early = weakref.ref(Node())
    late = weakref.ref(Node())
    gc.collect()
    assert gc.isenabled()
    assert early() is not None, "the collector looked at it"
    assert late() is None


def test_where_the_loading_fails_the_collector_goes_on():
    def fail() -> None:
        with loading():
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert gc.isenabled()
