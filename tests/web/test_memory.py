"""Modules from the start are excluded from garbage collection, and large blocks are returned."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from mistk_service.web.memory import loading


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


def test_where_the_loading_fails_the_collector_continues():
    def fail() -> None:
        with loading():
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert gc.isenabled()


#: Frees three blocks of 8 MB and shows in MB what stays of them. Ends well if next to nothing is left in time.
FREES_LARGE_BLOCKS = """
import asyncio, os
from mistk_service.web.memory import LargeBlocks

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

async def main():
    large, before = LargeBlocks(), resident()
    blocks = [b"x" * 2**23 for _ in range(3)]
    blocks.clear()
    large.used()
    print(resident() - before)
    async with asyncio.timeout(30):
        while resident() - before >= 8:
            await asyncio.sleep(0.05)

asyncio.run(main())
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc keeps large blocks, and can be told to let go"
)
def test_the_memory_of_large_requests_goes_back_to_the_system_when_there_are_no_more():
    # By itself the library comes to keep such blocks after some of them; so it keeps the first ones too.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
    command = [sys.executable, "-c", FREES_LARGE_BLOCKS]
    kept = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=50).stdout
    assert float(kept) > 16, "they were given back in another way"
