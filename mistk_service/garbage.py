"""The garbage collector's manners in a process that serves."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collect_less_often", "loading"]

#: Objects that are made before the youngest are looked at; by default 700, which is less than one large answer has.
_YOUNG = 50_000


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
