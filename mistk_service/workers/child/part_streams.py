"""Answers that a model gives in parts: generators that take turns on the main thread.

Each generator may be a limited number of parts ahead of its client, so that a slow client delays only its own parts.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import Any

import msgspec

from mistk_service.kinds.component import StopActivity
from mistk_service.kinds.predictions import pack
from mistk_service.workers.child.batching import unanswered
from mistk_service.workers.child.plain_values import json_ready
from mistk_service.workers.framing import LARGEST_FROM_WORKER
from mistk_service.workers.messages import PARTS_AHEAD, FromWorker, PartPredicted, PredictionEnded, PredictionForgotten

logger = logging.getLogger(__name__)

#: The maximum size of a part in bytes, so that the parts ahead of a client take no more memory than one message may.
_LARGEST = LARGEST_FROM_WORKER // PARTS_AHEAD - 64


def part_of(value: Any) -> msgspec.Raw:
    """Return a value as a part of an answer.

    Raises:
        TypeError: JSON cannot express the value.
        ValueError: it is too large.
    """
    part = pack(value, json_ready)
    if (size := memoryview(part).nbytes) > _LARGEST:
        raise ValueError(f"A part of the answer has {size} bytes; the limit is {_LARGEST}.")
    return part


class _Stream(msgspec.Struct):
    parts: Generator[Any, Any, Any]
    #: The number of parts that may still be sent before the client has received some.
    ahead: int = PARTS_AHEAD
    withdrawn: bool = False


class PartStreams:
    """The generators whose parts are being sent, by the id of their request.

    ``step`` and ``close`` are for the main thread. Callers of the other methods hold the runner's lock.
    """

    def __init__(self) -> None:
        self._streams: dict[int, _Stream] = {}

    @property
    def ready(self) -> bool:
        """Whether a generator may produce a part, or has been withdrawn."""
        return any(stream.ahead or stream.withdrawn for stream in self._streams.values())

    def add(self, number: int, parts: Generator[Any, Any, Any]) -> None:
        """Add the generator of a request."""
        self._streams[number] = _Stream(parts)

    def allow(self, number: int, parts: int) -> None:
        """Let a generator produce further parts."""
        if (stream := self._streams.get(number)) is not None:
            stream.ahead += parts

    def withdraw(self, number: int) -> bool:
        """End a generator at its next step; return False if the request has none."""
        stream = self._streams.get(number)
        if stream is not None:
            stream.withdrawn = True
        return stream is not None

    def take(self) -> int | None:
        """Return the request whose generator produces the next part, if any, and count that part."""
        for number, stream in self._streams.items():
            if stream.ahead or stream.withdrawn:
                stream.ahead -= 1
                self._streams[number] = self._streams.pop(number)  # to the end, so that the others come first
                return number
        return None

    def step(self, number: int) -> FromWorker:
        """Take the next part of a generator, or end it."""
        stream = self._streams[number]
        if stream.withdrawn:
            self._end(number)
            return PredictionForgotten(number)
        try:
            return PartPredicted(number, part_of(next(stream.parts)))
        except StopIteration:
            message: FromWorker = PredictionEnded(number)
        except BaseException as error:  # noqa: BLE001 - the caller receives the failure
            message = unanswered(number, error)
        self._end(number)
        return message

    def close(self) -> list[FromWorker]:
        """End all generators, since the worker exits."""
        ended = list(self._streams)
        for number in ended:
            self._end(number)
        return [unanswered(number, StopActivity("The container asked the model to exit.")) for number in ended]

    def _end(self, number: int) -> None:
        try:
            self._streams.pop(number).parts.close()
        except BaseException:  # the generator is the author's, and may even exit
            logger.exception("A generator raised an exception when it was closed.")
