"""What waits for the worker's main thread: activities in their order, and between them stream predictions, fairly.

A large request must not hold up the small ones behind it for longer than its own call takes, however many large ones wait; nor
may small ones that come without end keep it from ever being called. So large and small requests wait apart. Between two large
ones the small ones that wait get as much done as the first of the two was: a record, or a KiB of records where that is more,
counts one. Within its kind every request keeps its place.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable

from mistk_service.kinds.predictions import Records
from mistk_service.workers.messages import Predict, Run

__all__ = ["LARGE", "TaskQueue"]

#: A request is large beyond this many records, or KiB of records.
LARGE = 256

#: KiB of records at which a merged call is large enough, whatever the model's limit of records is.
_BATCH_KIB = 4096


class TaskQueue:
    """See the module. Whoever uses it from several threads holds a lock.

    Args:
        max_batch_size: how many records may go together into one call.
    """

    def __init__(self, max_batch_size: int = 1) -> None:
        self.max_batch_size = max_batch_size
        self._waiting: deque[Run | _Streams] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, tasks: Iterable[Run | Predict]) -> None:
        """Take tasks in their order. Stream predictions may change places with each other, but not with activities."""
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
        """Return what is next, of which there must be something: an activity, or the requests that go into one call."""
        first = self._waiting[0]
        if isinstance(first, Run):
            self._waiting.popleft()
            return first
        batch = first.take(self.max_batch_size)
        if not first:
            self._waiting.popleft()
        return batch

    def take_run(self) -> Run | None:
        """Return the next task if it is an activity, and None otherwise."""
        if self._waiting and isinstance(self._waiting[0], Run):
            return self._waiting.popleft()  # type: ignore[return-value]  # it is a Run, as the line above has seen
        return None

    def withdraw(self, number: int) -> bool:
        """Forget the stream prediction with this id; return False if it does not wait here."""
        for each in self._waiting:
            if isinstance(each, _Streams) and each.withdraw(number):
                if not each:
                    self._waiting.remove(each)
                return True
        return False

    def holds_run(self, number: int | None = None) -> bool:
        """Return whether the activity with this id waits here, or any if none is named."""
        return any(isinstance(each, Run) and number in (None, each.id) for each in self._waiting)


class _Streams:
    """Stream predictions that wait between two activities."""

    def __init__(self) -> None:
        #: By id, the request and its size.
        self._small: OrderedDict[int, tuple[Predict, int]] = OrderedDict()
        self._large: OrderedDict[int, tuple[Predict, int]] = OrderedDict()
        #: How much the small ones are still to get done before the next large one.
        self._owed = 0

    def __bool__(self) -> bool:
        return bool(self._small or self._large)

    def add(self, request: Predict) -> None:
        size = _size(request.records)
        (self._large if size > LARGE else self._small)[request.id] = request, size

    def withdraw(self, number: int) -> bool:
        return any(kind.pop(number, None) is not None for kind in (self._small, self._large))

    def take(self, max_batch_size: int) -> list[Predict]:
        if self._large and not (self._small and self._owed > 0):
            batch, self._owed = _batch(self._large, max_batch_size)
        else:
            batch, size = _batch(self._small, max_batch_size)
            self._owed -= size
        return batch


def _batch(kind: OrderedDict[int, tuple[Predict, int]], max_batch_size: int) -> tuple[list[Predict], int]:
    """Take the first request, and with it those behind it that may go into the same call; return them and their size."""
    _, (first, size) = kind.popitem(last=False)
    batch, records = [first], len(first.records)
    while kind and not first.details:
        candidate, more = next(iter(kind.values()))
        records += len(candidate.records)
        if candidate.details or records > max_batch_size or size + more > max(max_batch_size, _BATCH_KIB):
            break
        kind.popitem(last=False)
        batch.append(candidate)
        size += more
    return batch, size


def _size(records: Records) -> int:
    """Return how much there is to do, as the module counts it."""
    return max(len(records), records.size >> 10)
