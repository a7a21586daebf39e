"""An answer that a model gives in parts, as the reader sees it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from mistk_service.errors import MistkError
from mistk_service.kinds.predictions import Answer
from mistk_service.workers.messages import PARTS_AHEAD

#: The number of parts that are received before the model is allowed to produce more.
_TOGETHER = PARTS_AHEAD // 2


class AnswerParts:
    """Yields the parts of an answer as the model produces them. For one reader, on the event loop.

    Iteration raises the error with which the model ended, if any: HookFailed, InvalidRequest, WorkerDied or ServiceBusy. Call
    :meth:`close` if the reader stops before the end.

    Args:
        allow: lets the model produce further parts.
        withdraw: ends the model's work on this answer.
    """

    def __init__(self, allow: Callable[[int], None], withdraw: Callable[[], None]) -> None:
        self._allow = allow
        self._withdraw = withdraw
        self._parts: deque[Answer] = deque()
        self._received = 0
        self._changed = asyncio.Event()
        self._ended = False
        self._error: MistkError | None = None

    def add(self, part: Answer) -> None:
        """Add a part."""
        self._parts.append(part)
        self._changed.set()

    def end(self, error: MistkError | None = None) -> None:
        """Add the end: the parts before it are still read."""
        self._ended, self._error = True, error
        self._changed.set()

    def raise_early_error(self) -> None:
        """Raise the error with which the model ended, if it gave no part before."""
        if self._error is not None and not self._parts:
            raise self._error

    def close(self) -> None:
        """Stop the model's work on this answer, unless it has ended."""
        if not self._ended:
            self._ended = True
            self._withdraw()

    def __aiter__(self) -> AnswerParts:
        return self

    async def __anext__(self) -> Answer:
        while not self._parts:
            if self._ended:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        self._received += 1
        if self._received % _TOGETHER == 0 and not self._ended:
            self._allow(_TOGETHER)
        return self._parts.popleft()
