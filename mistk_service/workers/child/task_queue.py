"""The queue of the worker's main thread: activities in order, and between them stream predictions, scheduled fairly.

A large request must delay the small requests behind it by no more than its own call, however many large requests wait. A
constant supply of small requests must not starve the large ones. So large and small requests wait in separate queues. Between
two large requests, small requests are processed with the same total cost as the first of the two. The cost of a request is the
number of its records, or of their KiB if that is more. Within each queue, requests keep their order.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable

from mistk_service.kinds.predictions import Tensors
from mistk_service.workers.messages import Predict, Run

#: A request is large if its cost, in records or KiB, exceeds this.
LARGE = 256

#: The maximum size of a merged call in KiB, whatever the model's maximum number of records.
_BATCH_KIB = 4096

#: Requests by id, each with the number of its records and its cost, as defined above.
_Requests = OrderedDict[int, tuple[Predict, int, int]]


class TaskQueue:
    """Activities and stream predictions that wait for the main thread. Not thread-safe: callers must hold a lock.

    Args:
        max_batch_size: the maximum number of records in a merged call.
    """

    def __init__(self, max_batch_size: int = 1) -> None:
        self.max_batch_size = max_batch_size
        #: Whether tensors are merged too.
        self.joins_tensors = True
        self._waiting: deque[Run | _Streams] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, tasks: Iterable[Run | Predict]) -> None:
        """Add tasks in order. Stream predictions may be reordered among themselves, but not relative to activities."""
        for task in tasks:
            if isinstance(task, Run):
                self._waiting.append(task)
                continue
            last = self._waiting[-1] if self._waiting else None
            if not isinstance(last, _Streams):
                last = _Streams()
                self._waiting.append(last)
            last.add(task)

    def take(self) -> Run | list[Predict]:
        """Return the next activity, or the requests of the next call. The queue must not be empty."""
        first = self._waiting[0]
        if isinstance(first, Run):
            self._waiting.popleft()
            return first
        batch = first.take(self.max_batch_size, self.joins_tensors)
        if not first:
            self._waiting.popleft()
        return batch

    def take_run(self) -> Run | None:
        """Return the next task if it is an activity, and None otherwise."""
        if self._waiting and isinstance(self._waiting[0], Run):
            return self._waiting.popleft()  # type: ignore[return-value]  # it is a Run, as the line above has seen
        return None

    def withdraw(self, number: int) -> bool:
        """Remove the stream prediction with this id; return False if it is not in the queue."""
        for each in self._waiting:
            if isinstance(each, _Streams) and each.withdraw(number):
                if not each:
                    self._waiting.remove(each)
                return True
        return False

    def holds_run(self, number: int | None = None) -> bool:
        """Return whether the activity with this id is in the queue, or any activity if the id is None."""
        return any(isinstance(each, Run) and number in (None, each.id) for each in self._waiting)


class _Streams:
    """Stream predictions that wait between two activities."""

    def __init__(self) -> None:
        self._small: _Requests = OrderedDict()
        self._large: _Requests = OrderedDict()
        #: The cost of small requests that may still be processed before the next large one.
        self._owed = 0

    def __bool__(self) -> bool:
        return bool(self._small or self._large)

    def add(self, request: Predict) -> None:
        records = len(request.inputs)
        cost = max(records, request.inputs.size >> 10)
        (self._large if cost > LARGE else self._small)[request.id] = request, records, cost

    def withdraw(self, number: int) -> bool:
        return any(kind.pop(number, None) is not None for kind in (self._small, self._large))

    def take(self, max_batch_size: int, joins_tensors: bool) -> list[Predict]:
        if self._large and not (self._small and self._owed > 0):
            batch, self._owed = _batch(self._large, max_batch_size, joins_tensors)
        else:
            batch, cost = _batch(self._small, max_batch_size, joins_tensors)
            self._owed -= cost
        return batch


def _batch(kind: _Requests, max_batch_size: int, joins_tensors: bool) -> tuple[list[Predict], int]:
    """Remove the first request and the following ones that fit into the same call; return them and their cost."""
    _, (first, records, cost) = kind.popitem(last=False)
    batch = [first]
    may_merge = records < max_batch_size and (joins_tensors or not isinstance(first.inputs, Tensors))
    shared = first.merged_with if kind and may_merge else None
    while kind and shared is not None:
        candidate, more_records, more = next(iter(kind.values()))
        records += more_records
        if candidate.merged_with != shared or records > max_batch_size or cost + more > max(max_batch_size, _BATCH_KIB):
            break
        kind.popitem(last=False)
        batch.append(candidate)
        cost += more
    return batch, cost
