"""The stream predictions in flight: which request waits for which answer, and for how long.

A request that nobody waits for any more, because its client has gone or its time is over, is withdrawn. It is in flight, and
takes its place among those that may be, until the worker has said what became of it: forgotten, if the model had not begun
with it, which is said at once; else answered, and the answer thrown away.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from mistk_service.core.events import Event, StreamAnswered
from mistk_service.errors import (
    HookFailed,
    InvalidRequest,
    MistkError,
    OperationUnsupported,
    PredictionTimedOut,
    ServiceBusy,
)
from mistk_service.kinds.model.base import StopActivity
from mistk_service.workers.host.process import Worker
from mistk_service.workers.messages import (
    StreamDone,
    StreamFailed,
    StreamPredict,
    StreamRefused,
    StreamWithdrawn,
    Unsendable,
    Withdraw,
)

__all__ = ["Streams", "cut_off", "refusal"]

logger = logging.getLogger(__name__)

#: Seconds after which a client that found the queue full may try again.
_RETRY_AFTER = 1.0


@dataclass(eq=False)
class _Waiting:
    records: int
    future: asyncio.Future[bytes]
    deadline: asyncio.TimerHandle | None
    began: float = field(default_factory=time.perf_counter)


class Streams:
    """See the module. False when nothing is in flight.

    Args:
        ids: where commands get their ids from.
        limit: how many may be in flight.
        timeout: seconds that an answer may take; None for any number.
        emit: is told of every answer.
        unsupported: makes the error of a request that the model does not support, for a reason that may be empty; called
            when the request is no longer in flight.
    """

    def __init__(
        self,
        ids: Iterator[int],
        limit: int,
        timeout: float | None,
        emit: Callable[[Event], None],
        unsupported: Callable[[str], OperationUnsupported],
    ) -> None:
        self._ids = ids
        self._limit = limit
        self._timeout = timeout
        self._emit = emit
        self._unsupported = unsupported
        self._waiting: dict[int, _Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self, worker: Worker, data: Mapping[str, str], details: bool) -> asyncio.Future[bytes]:
        """Send a request to the worker and return what will be its answer; to cancel that is to withdraw the request.

        The future raises PredictionTimedOut when the time is over, and what has become of the worker otherwise.

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
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()
        future.add_done_callback(functools.partial(self._withdraw_if_cancelled, worker, number))
        deadline = loop.call_later(self._timeout, self._time_out, worker, number) if self._timeout else None
        self._waiting[number] = _Waiting(len(data), future, deadline)
        return future

    def _withdraw_if_cancelled(self, worker: Worker, number: int, future: asyncio.Future[bytes]) -> None:
        if future.cancelled() and number in self._waiting:
            worker.send(Withdraw(number))

    def _time_out(self, worker: Worker, number: int) -> None:
        future = self._waiting[number].future
        if not future.done():
            worker.send(Withdraw(number))
            future.set_exception(
                PredictionTimedOut(
                    f"The prediction was not there after {self._timeout:g} s (--stream-timeout), waiting for others included, "
                    "and was given up. Send it again when there is less to do, or send fewer records at once.",
                )
            )

    def answer(self, message: StreamDone | StreamFailed | StreamRefused | StreamWithdrawn) -> None:
        """Hand an answer to whoever waits for it."""
        waiting = self._waiting.pop(message.id, None)
        if waiting is None:
            return
        _stop(waiting.deadline)
        if isinstance(message, StreamWithdrawn):
            return
        if isinstance(message, StreamDone):
            _resolve(waiting.future, message.body)
        else:
            error = self._error(message)
            if isinstance(error, HookFailed):
                logger.error("%s", error.failure.told("streamPredict"))
            _reject(waiting.future, error)
        seconds = time.perf_counter() - waiting.began
        self._emit(StreamAnswered(waiting.records, seconds, isinstance(message, StreamDone)))

    def _error(self, message: StreamFailed | StreamRefused) -> MistkError:
        if isinstance(message, StreamRefused):
            return refusal("streamPredict", message.message, message.field)
        if message.unsupported:
            return self._unsupported(message.failure.message)
        if message.failure.type == StopActivity.__name__:
            return cut_off()
        return HookFailed("streamPredict", message.failure)

    def abandon(self, error: MistkError) -> None:
        """Answer everything in flight with an error."""
        waiting, self._waiting = self._waiting, {}
        for request in waiting.values():
            _stop(request.deadline)
            _reject(request.future, error)


def refusal(operation: str, message: str, field: str | None) -> InvalidRequest:
    """Return the error of a request that the model refused, in its own words where it has any."""
    return InvalidRequest(message or f"The model refused {operation} and gave no reason.", field=field)


def cut_off() -> ServiceBusy:
    """Return the error of a prediction that was not made because the worker had to end."""
    return ServiceBusy("The model was reset or shut down; the prediction was not made.", retry_after=_RETRY_AFTER)


def _stop(deadline: asyncio.TimerHandle | None) -> None:
    if deadline is not None:
        deadline.cancel()


def _resolve(future: asyncio.Future[bytes], body: bytes) -> None:
    if not future.done():  # it is cancelled, or its time is over
        future.set_result(body)


def _reject(future: asyncio.Future[bytes], error: MistkError) -> None:
    if not future.done():
        future.set_exception(error)
