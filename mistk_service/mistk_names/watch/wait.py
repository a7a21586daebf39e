"""``mistk.watch.wait``."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

__all__ = ["wait_for_state"]

#: Seconds between two requests.
_EVERY = 0.2


def wait_for_state(service: Any, stage: str, state: str | Iterable[str]) -> str:
    """Wait until a container is in a state, or in one of several, and return it.

    Args:
        service: a generated client of the container, with ``get_status()``.
        stage: the name of the step, for the error message.
        state: the state or the states.

    Raises:
        RuntimeError: the container has failed.
    """
    wanted = {state} if isinstance(state, str) else set(state)
    while (status := service.get_status()).state not in wanted:
        if status.state == "failed":
            raise RuntimeError(f"{stage}: the container has failed: {status.payload}")
        time.sleep(_EVERY)
    return str(status.state)
