"""How a process that serves goes about its memory: the garbage collector's manners and the allocator's."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["LargeBlocks", "collect_less_often", "loading"]

#: Objects that are made before the youngest are looked at; by default 700, which is less than one large answer has. Then how
#: often those are looked at before older ones are: what survives once is otherwise kept for hours where little is made.
_YOUNG, _MIDDLE, _OLD = 50_000, 5, 10

#: Seconds without a large request after which the memory of the earlier ones goes back.
_IDLE = 1.0


def collect_less_often() -> None:
    """Let the garbage collector pass over what is loaded by now, and look at what is new less often.

    Reference counts free nearly everything that a request leaves behind. Looking for the rest again and again would stop all
    requests for as long as it takes to walk over every module, class and table definition there is.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)


@contextmanager
def loading() -> Iterator[None]:
    """Keep the garbage collector away while much is loaded that stays, and have it pass over that from then on.

    There is next to no garbage in it, and to look for it takes as long as some of the loading.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


class LargeBlocks:
    """Gives the memory of large requests back to the system when there has been none for a while.

    By itself glibc, where that is the C library, keeps blocks of up to 32 MB that were freed, to use them again: a service
    that has had large requests stays larger by twice their size. To give each block back at once would cost new pages for the
    next one, and a third of the speed of large requests in a row. What stays is what a thread has on top, about one request's
    size. See malloc_trim(3). Lives on one event loop.

    Args:
        collect: whether what was used leaves objects behind that refer to each other, which the collector has to find first.
    """

    def __init__(self, *, collect: bool = False) -> None:
        self._give_back = _collect_and_give_back if collect else _give_back
        self._timer: asyncio.TimerHandle | None = None

    def used(self) -> None:
        """Note that a large request is done."""
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_IDLE, loop.run_in_executor, None, self._give_back)


def _give_back() -> None:
    """On a thread, since it walks over all that is free."""
    # Late: most services never have a large request.
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _collect_and_give_back() -> None:
    gc.collect()
    _give_back()
