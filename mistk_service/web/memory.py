"""Memory management of a server process: the garbage collector and the allocator."""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: The thresholds of the three generations. Python's default for the first, 700, is less than one large response needs. The
#: others are small so that garbage which survives once is not kept for hours in a quiet service.
_YOUNG, _MIDDLE, _OLD = 50_000, 5, 10

#: Seconds without a large request after which memory is returned.
_IDLE = 1.0

#: The parameters of mallopt(3) for the size from which a block is mapped by itself, and for the free memory at the end of the
#: heap that is returned at once; and their value in bytes.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT = 256 * 1024 * 1024


def collect_less_often() -> None:
    """Exclude what is loaded by now from garbage collection, and collect less often.

    Reference counting frees nearly everything that a request leaves behind. A full collection stops all requests while it
    walks over every module, class and table definition.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)


@contextmanager
def loading() -> Iterator[None]:
    """Switch garbage collection off while modules are loaded, and exclude them from it afterwards.

    Loading leaves almost no garbage, and collecting would take a noticeable part of the time.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


class LargeBlocks:
    """Returns the memory of large requests to the system when there has been none for a while.

    After the first large request, glibc keeps freed blocks of up to 256 MB for reuse, instead of 32 MB. To return each block
    at once would cost large requests in a row a third of their speed, since the system clears every page that it gives out.
    About the size of one request remains with each thread; see malloc_trim(3). Use it on one event loop.

    Args:
        collect: whether to collect garbage first, for requests that leave reference cycles behind.
    """

    def __init__(self, *, collect: bool = False) -> None:
        self._collect = collect
        self._timer: asyncio.TimerHandle | None = None

    def used(self) -> None:
        """Call this when a large request is done."""
        _keep_freed_blocks()
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_IDLE, loop.run_in_executor, None, self._return_memory)

    def _return_memory(self) -> None:
        """Runs on a thread, since it walks over all free memory."""
        if self._collect:
            gc.collect()
        if (trim := _allocator("malloc_trim")) is not None:
            trim(0)


@functools.cache
def _keep_freed_blocks() -> None:
    if (set_option := _allocator("mallopt")) is not None:
        set_option(_MMAP_THRESHOLD, _KEPT)
        set_option(_TRIM_THRESHOLD, _KEPT)


def _allocator(name: str) -> Any:
    """Return a function of the allocator; None if it is not that of glibc."""
    # Loaded late, since most services never have a large request.
    import ctypes

    return getattr(ctypes.CDLL(None), name, None)
