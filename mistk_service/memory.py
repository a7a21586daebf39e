"""How a process that serves goes about its memory: the garbage collector's manners and the allocator's."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collect_less_often", "give_back_large_blocks", "loading"]

#: Objects that are made before the youngest are looked at; by default 700, which is less than one large answer has.
_YOUNG = 50_000

#: Bytes from which on a block of memory goes back to the system when it is freed. Above what a socket is read into at once,
#: since each such block is new pages, which cost more than the reading.
_LARGE = 512 * 1024

#: The name of that parameter in glibc's malloc.h.
_M_MMAP_THRESHOLD = -3


def collect_less_often() -> None:
    """Let the garbage collector pass over what is loaded by now, and look at what is new less often.

    Reference counts free nearly everything that a request leaves behind. Looking for the rest again and again would stop all
    requests for as long as it takes to walk over every module, class and table definition there is.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 50)


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


def give_back_large_blocks() -> None:
    """Let the memory of large requests go back to the system as soon as they are done, where the C library is glibc.

    By itself glibc keeps the largest blocks that it has seen freed, up to 32 MB, to use them again: a service that has had one
    large request keeps twice its size for ever. See mallopt(3). Not for a worker, whose model may want large arrays again and
    again.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
