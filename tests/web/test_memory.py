"""Modules from the start are excluded from garbage collection, and large blocks are returned."""

from __future__ import annotations

import gc
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


#: Reads two bodies of 40 MB, and shows in MB what stays of them. Ends well if next to nothing is left in time.
READS_LARGE_BODIES = """
import asyncio, os
from mistk_service.web.gate import BodyBudget
from mistk_service.web.request_body import read_body

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

async def app(scope, receive, send):
    assert len(await read_body(scope, receive, 2**30)) == 40 * 2**20

async def main():
    scope = {"type": "http", "method": "POST", "headers": [(b"content-length", b"%d" % (40 * 2**20))]}
    budget, before = BodyBudget(app, 2**30, lambda _: None), resident()
    for _ in range(2):
        pieces = iter(range(40))

        async def receive():
            return {"type": "http.request", "body": bytes(2**20), "more_body": next(pieces) < 39}

        await budget(scope, receive, None)
    print(resident() - before)
    async with asyncio.timeout(30):
        while resident() - before >= 8:
            await asyncio.sleep(0.05)

asyncio.run(main())
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc keeps large blocks, and can be told to let go"
)
def test_the_memory_of_large_bodies_is_reused_and_goes_back_to_the_system_when_there_are_no_more():
    command = [sys.executable, "-c", READS_LARGE_BODIES]
    kept = subprocess.run(command, check=True, capture_output=True, text=True, timeout=50).stdout
    assert float(kept) > 30
