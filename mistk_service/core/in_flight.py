"""The predictions in flight: their futures and their timeouts.

A request whose client has disconnected or whose timeout has passed is withdrawn. It stays in flight, and counts towards the
limit, until the worker reports its end. If the model has not begun with it, the worker forgets it and reports that at once.
Otherwise it is answered, and the answer is discarded; an answer in parts ends with its next part.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator

import msgspec

from mistk_service.core.answer_parts import AnswerParts
from mistk_service.core.events import Event, PredictionAnswered, PredictionBegan, PredictionWithdrawn
from mistk_service.errors import (
    HookFailed,
    InvalidRequest,
    MistkError,
    OperationUnsupported,
    PredictionTimedOut,
    ServiceBusy,
)
from mistk_service.kinds.component import StopActivity
from mistk_service.kinds.predictions import Answer, Inputs
from mistk_service.workers.framing import Unsendable
from mistk_service.workers.messages import (
    AllowParts,
    PartPredicted,
    Predict,
    Predicted,
    PredictionEnd,
    PredictionEnded,
    PredictionFailed,
    PredictionForgotten,
    PredictionRefused,
    Withdraw,
)
from mistk_service.workers.protocol import Worker

logger = logging.getLogger(__name__)

#: The ends of a prediction that succeeded.
_SUCCESSES = (Predicted, PredictionEnded)

#: Seconds after which a client may retry when the queue is full.
_RETRY_AFTER = 1.0


class _Waiting(msgspec.Struct, eq=False):
    worker: Worker
    operation: str
    records: int
    future: asyncio.Future[Answer | AnswerParts]
    deadline: asyncio.TimerHandle | None
    #: The request, if it may be sent to another worker.
    request: Predict | None = None
    parts: AnswerParts | None = None
    began: float = msgspec.field(default_factory=time.perf_counter)


class Predictions:
    """The predictions in flight of one instance. False if there are none.

    Args:
        ids: the source of command ids.
        limit: the maximum number in flight.
        timeout: seconds until an answer is due; None for no timeout.
        emit: receives an event for every answer.
        unsupported: makes the error for a request that the model does not support, given the operation and a reason that may
            be empty. It is called when the request is no longer in flight.
    """

    def __init__(
        self,
        ids: Iterator[int],
        limit: int,
        timeout: float | None,
        emit: Callable[[Event], None],
        unsupported: Callable[[str, str], OperationUnsupported],
    ) -> None:
        self._ids = ids
        self._limit = limit
        self._timeout = timeout
        self._emit = emit
        self._unsupported = unsupported
        self._waiting: dict[int, _Waiting] = {}
        self._of_worker: Counter[Worker] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(
        self, operation: str, worker: Worker, inputs: Inputs, details: bool, *, repeatable: bool = False
    ) -> asyncio.Future[Answer | AnswerParts]:
        """Send a request to the worker and return a future for its answer. Cancel the future to withdraw the request.

        Errors name the operation. A ``repeatable`` request is kept for :meth:`repeat`.

        The future raises PredictionTimedOut on a timeout, or the error that follows from the worker's exit. An answer in
        parts is returned with its first part; after that there is no timeout.

        Raises:
            ServiceBusy: too many predictions are in flight.
            InvalidRequest: an identifier or a record cannot be sent.
        """
        if len(self._waiting) >= self._limit:
            raise ServiceBusy(
                f"{self._limit} predictions are in flight, which is the limit. Retry later.",
                retry_after=_RETRY_AFTER,
            )
        number = next(self._ids)
        request = Predict(number, inputs, details)
        try:
            worker.send(request)
        except Unsendable as error:
            raise InvalidRequest(
                f"A record contains {error}; expected identifiers and records without lone surrogates."
            ) from error
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer | AnswerParts] = loop.create_future()
        future.add_done_callback(functools.partial(self._withdraw_if_cancelled, number))
        deadline = loop.call_later(self._timeout, self._time_out, number) if self._timeout else None
        kept = request if repeatable else None
        self._waiting[number] = _Waiting(worker, operation, len(inputs), future, deadline, kept)
        self._of_worker[worker] += 1
        self._emit(PredictionBegan())
        return future

    def _withdraw_if_cancelled(self, number: int, future: asyncio.Future[Answer | AnswerParts]) -> None:
        if future.cancelled() and number in self._waiting:
            self._waiting[number].worker.send(Withdraw(number))

    def _time_out(self, number: int) -> None:
        future = self._waiting[number].future
        if not future.done():
            self._waiting[number].worker.send(Withdraw(number))
            future.set_exception(
                PredictionTimedOut(
                    f"The prediction took longer than {self._timeout:g} s (--stream-timeout), including time in the queue, "
                    "and was cancelled. Retry when the load is lower, or send fewer records at once.",
                )
            )

    def add_part(self, message: PartPredicted) -> None:
        """Pass a part of an answer on to its reader."""
        waiting = self._waiting.get(message.id)
        if waiting is None:
            return
        if waiting.parts is None:
            if waiting.future.done():  # the request was withdrawn while the model began to answer it
                waiting.worker.send(Withdraw(message.id))
                return
            waiting.parts = self._begin_parts(waiting, message.id)
        waiting.parts.add(Answer(message.part))

    def _begin_parts(self, waiting: _Waiting, number: int) -> AnswerParts:
        _stop(waiting.deadline)
        parts = AnswerParts(
            allow=lambda count: waiting.worker.send(AllowParts(number, count)),
            withdraw=lambda: waiting.worker.send(Withdraw(number)),
        )
        waiting.future.set_result(parts)
        return parts

    def answer(self, message: PredictionEnd) -> None:
        """Set the result of the future that waits for it."""
        waiting = self._take(message.id)
        if waiting is None:
            return
        if isinstance(message, PredictionForgotten):
            self._emit(PredictionWithdrawn())
            return
        seconds = time.perf_counter() - waiting.began
        succeeded = isinstance(message, _SUCCESSES)
        self._emit(PredictionAnswered(waiting.records, seconds, succeeded))
        if isinstance(message, Predicted):
            _resolve(waiting.future, Answer(message.answer))
        elif isinstance(message, PredictionEnded):
            if waiting.parts is None and not waiting.future.done():
                waiting.parts = self._begin_parts(waiting, message.id)  # an answer without parts
            if waiting.parts is not None:
                waiting.parts.end()
        else:
            error = self._error(waiting.operation, message)
            if isinstance(error, HookFailed):
                logger.error("%s", error.failure.log_text(waiting.operation))
            _reject(waiting, error)

    def _error(self, operation: str, message: PredictionFailed | PredictionRefused) -> MistkError:
        if isinstance(message, PredictionRefused):
            return refusal(operation, message.message, message.field)
        if message.unsupported:
            return self._unsupported(operation, message.failure.message)
        if message.failure.type == StopActivity.__name__:
            return stopped_by_service()
        return HookFailed(operation, message.failure)

    def in_flight_of(self, worker: Worker) -> int:
        """Return the number of predictions in flight at a worker."""
        return self._of_worker[worker]

    def _take(self, number: int) -> _Waiting | None:
        waiting = self._waiting.pop(number, None)
        if waiting is not None:
            _stop(waiting.deadline)
            self._of_worker[waiting.worker] -= 1
            if not self._of_worker[waiting.worker]:
                del self._of_worker[waiting.worker]  # it may have ended
        return waiting

    def repeat(self, worker: Worker, choose: Callable[[], Worker | None]) -> None:
        """Send the repeatable requests that a worker has not begun to answer to another worker, once.

        Args:
            worker: the worker, which has ended.
            choose: returns the other worker for a request; None if there is none.
        """
        for number, waiting in list(self._waiting.items()):
            if waiting.worker is worker and waiting.request is not None and not waiting.future.done():
                other = choose()
                if other is None:
                    return
                self._of_worker[worker] -= 1
                self._of_worker[other] += 1
                waiting.worker, request, waiting.request = other, waiting.request, None
                logger.warning("The prediction %d is repeated, since its replica has ended.", number)
                other.send(request)

    def abandon(self, error: MistkError, worker: Worker | None = None) -> None:
        """Fail the predictions in flight with an error: those of one worker, or all."""
        for number, request in list(self._waiting.items()):
            if worker is None or request.worker is worker:
                self._take(number)
                _reject(request, error)
                self._emit(PredictionWithdrawn())
        if worker is not None:
            del self._of_worker[worker]


def refusal(operation: str, message: str, field: str | None) -> InvalidRequest:
    """Return the error for a request that the model refused, with the model's own message if it has one."""
    return InvalidRequest(message or f"The model refused {operation} and gave no reason.", field=field)


def stopped_by_service() -> ServiceBusy:
    """Return the error for a prediction that was cancelled because the worker had to end."""
    return ServiceBusy("The model was reset or shut down before it made the prediction.", retry_after=_RETRY_AFTER)


def _stop(deadline: asyncio.TimerHandle | None) -> None:
    if deadline is not None:
        deadline.cancel()


def _resolve(future: asyncio.Future[Answer | AnswerParts], answer: Answer) -> None:
    if not future.done():  # it has been cancelled or has timed out
        future.set_result(answer)


def _reject(waiting: _Waiting, error: MistkError) -> None:
    if waiting.parts is not None:
        waiting.parts.end(error)
    elif not waiting.future.done():
        waiting.future.set_exception(error)
