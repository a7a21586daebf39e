"""The stream predictions in flight: which request waits for which answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from mistk_service.errors import HookFailed, InvalidRequest, MistkError, OperationUnsupported, ServiceBusy
from mistk_service.events import Event, StreamAnswered
from mistk_service.model import StopActivity
from mistk_service.worker.messages import StreamDone, StreamFailed, StreamPredict, Unsendable
from mistk_service.worker.parent import Worker

__all__ = ["Streams", "cut_off"]

#: Seconds after which a client that found the queue full may try again.
_RETRY_AFTER = 1.0


@dataclass(eq=False)
class _Waiting:
    records: int
    future: asyncio.Future[bytes]
    began: float = field(default_factory=time.perf_counter)


class Streams:
    """See the module. False when nothing is in flight.

    Args:
        ids: where commands get their ids from.
        limit: how many may be in flight.
        emit: is told of every answer.
        unsupported: makes the error of a request that the model does not support, for a reason that may be empty; called
            when the request is no longer in flight.
    """

    def __init__(
        self,
        ids: Iterator[int],
        limit: int,
        emit: Callable[[Event], None],
        unsupported: Callable[[str], OperationUnsupported],
    ) -> None:
        self._ids = ids
        self._limit = limit
        self._emit = emit
        self._unsupported = unsupported
        self._waiting: dict[int, _Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self, worker: Worker, data: Mapping[str, str], details: bool) -> asyncio.Future[bytes]:
        """Send a request to the worker and return what will be its answer.

        Raises:
            ServiceBusy: too many are in flight.
            InvalidRequest: an identifier or a record cannot be sent.
        """
        if len(self._waiting) >= self._limit:
            raise ServiceBusy(
                f"{self._limit} stream predictions are in flight already, which is the limit; send this one again later.",
                retry_after=_RETRY_AFTER,
            )
        number = next(self._ids)
        try:
            worker.send(StreamPredict(number, dict(data), details))
        except Unsendable as error:
            raise InvalidRequest(
                f"dataMap: it holds {error}; expected identifiers and records without lone surrogates.", field="dataMap"
            ) from error
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = _Waiting(len(data), future)
        return future

    def answer(self, message: StreamDone | StreamFailed) -> None:
        """Hand an answer to whoever waits for it."""
        waiting = self._waiting.pop(message.id, None)
        if waiting is None:
            return
        if isinstance(message, StreamDone):
            _resolve(waiting.future, message.body)
        else:
            _reject(waiting.future, self._error(message))
        seconds = time.perf_counter() - waiting.began
        self._emit(StreamAnswered(waiting.records, seconds, isinstance(message, StreamDone)))

    def _error(self, message: StreamFailed) -> MistkError:
        if message.unsupported:
            return self._unsupported(message.failure.message)
        if message.failure.type == StopActivity.__name__:
            return cut_off()
        return HookFailed("streamPredict", message.failure)

    def abandon(self, error: MistkError) -> None:
        """Answer everything in flight with an error."""
        waiting, self._waiting = self._waiting, {}
        for request in waiting.values():
            _reject(request.future, error)


def cut_off() -> ServiceBusy:
    """Return the error of a prediction that was not made because the worker had to end."""
    return ServiceBusy("The model was reset or shut down; the prediction was not made.", retry_after=_RETRY_AFTER)


def _resolve(future: asyncio.Future[bytes], body: bytes) -> None:
    if not future.done():  # a client that has gone cancels its future
        future.set_result(body)


def _reject(future: asyncio.Future[bytes], error: MistkError) -> None:
    if not future.done():
        future.set_exception(error)
