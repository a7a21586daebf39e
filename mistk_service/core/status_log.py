"""The versioned history of the status, with any number of readers.

Every published status gets the next version and is encoded once; readers share the bytes. A reader is only a position in the
history, without a queue or a thread. A slow reader loses nothing while the history still has its position. A reader that has
fallen behind the history learns which versions it missed. This module knows nothing of HTTP and lives on the event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace

from mistk_service.core.view import Status
from mistk_service.kinds.kind import TERMINATED

#: The limits of the history, in events and in bytes of their encoded form.
HISTORY_EVENTS, HISTORY_BYTES = 1024, 16 * 1024 * 1024

#: Minimum seconds between two versions that differ only in the payload: at most twenty a second, and the latest wins.
CONFLATION = 0.05

#: The number of readers woken per iteration of the event loop.
WOKEN_AT_ONCE = 16


@dataclass(frozen=True)
class Missed:
    """The range of versions that a reader requested and that the history does not have: too old, or in the future."""

    first: int
    last: int


@dataclass(frozen=True)
class StatusEvent:
    """One published status.

    Attributes:
        version: the resourceVersion.
        state: the state.
        kind: ``added`` for the very first status, ``modified`` for the others.
        status: the encoded status.
    """

    version: int
    state: str
    kind: str
    status: bytes


class StatusLog:
    """Publishes the status and serves it to readers.

    Args:
        snapshot: returns the current status; called for every publication.
        encode: encodes a status for the version that it is published under.
        conflation: minimum seconds between two versions that differ only in the payload.
    """

    def __init__(
        self,
        snapshot: Callable[[], Status],
        encode: Callable[[Status, int], bytes],
        *,
        conflation: float = CONFLATION,
        history: int = HISTORY_EVENTS,
        history_bytes: int = HISTORY_BYTES,
    ) -> None:
        self._snapshot = snapshot
        self._encode = encode
        self._conflation = conflation
        self._history: deque[StatusEvent] = deque()
        self._history_limit, self._bytes_limit = history, history_bytes
        self._bytes = 0
        #: Readers that wait for a change, and those that are about to be woken.
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._to_wake: deque[asyncio.Future[None]] = deque()
        self._pending: asyncio.TimerHandle | None = None
        #: Whether something has changed since the last event, and the new status once it has been computed.
        self._stale = False
        self._unpublished: StatusEvent | None = None
        #: Whether a reader has seen a status that is not published yet. It must then see what follows, even a change back.
        self._shown = False
        self._last_snapshot: Status | None = None
        self.watchers = 0
        self._publish()

    # --- publishing -----------------------------------------------------------------------------------------------

    def publish(self) -> StatusEvent:
        """Publish the current status at once. Every change of state is published this way, so none is dropped."""
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None
        self._publish()
        return self._history[-1]

    def touch(self) -> None:
        """Record that the status has changed. It is published soon, together with further changes until then."""
        self._stale, self._unpublished = True, None
        if self._pending is None:
            self._pending = asyncio.get_running_loop().call_later(self._conflation, self._publish_pending)

    def latest(self) -> StatusEvent:
        """Return the current status.

        A change that is not published yet is shown under the previous version. A watch from that version will deliver the
        change, and frequent calls do not create versions.
        """
        if not self._stale:
            return self._history[-1]
        if self._unpublished is None:
            snapshot, last = self._snapshot(), self._history[-1]
            if snapshot == self._last_snapshot:
                self._unpublished = last
            else:
                self._unpublished = replace(last, state=snapshot.state, status=self._encode(snapshot, last.version))
                self._shown = True
        return self._unpublished

    def _publish_pending(self) -> None:
        self._pending = None
        if self._stale:
            self._publish()

    def _publish(self) -> None:
        """Publish, unless the change has been reverted: watchers need not see a brief stream prediction."""
        self._stale, self._unpublished = False, None
        snapshot = self._snapshot()
        if snapshot == self._last_snapshot and not self._shown:
            return
        self._shown = False
        self._last_snapshot = snapshot
        last = self._history[-1] if self._history else None
        version = last.version + 1 if last else 1
        event = StatusEvent(version, snapshot.state, "modified" if last else "added", self._encode(snapshot, version))
        self._history.append(event)
        self._bytes += len(event.status)
        while len(self._history) > self._history_limit or (self._bytes > self._bytes_limit and len(self._history) > 1):
            self._bytes -= len(self._history.popleft().status)
        idle = not self._to_wake
        self._to_wake.extend(self._waiting)
        self._waiting.clear()
        if idle:
            self._wake_some()

    def _wake_some(self) -> None:
        """Wake some readers now and the others in later iterations of the event loop, so that other tasks are not delayed."""
        for _ in range(min(WOKEN_AT_ONCE, len(self._to_wake))):
            reader = self._to_wake.popleft()
            if not reader.done():
                reader.set_result(None)
        if self._to_wake:
            asyncio.get_running_loop().call_soon(self._wake_some)

    # --- reading --------------------------------------------------------------------------------------------------

    async def watch(
        self, after: int | None = None, *, keepalive: float | None = None
    ) -> AsyncGenerator[tuple[StatusEvent, Missed | None] | None, None]:
        """Yield every event after version ``after`` from the history, then live events until the instance is terminated.

        Each event comes with the versions missed before it, if any. A version in the future stems from an earlier instance of
        the service and counts as missed.

        Args:
            after: the last version that the reader knows, 0 for the whole history; None to begin with the last published one.
            keepalive: yield None after this many seconds without an event.
        """
        self.watchers += 1
        if after is None:
            after = self._history[-1].version - 1
        try:
            while True:
                events, missed = self._events_after(after)
                for event in events:
                    yield event, missed
                    missed = None
                    after = event.version
                    if event.state == TERMINATED:
                        return  # Later changes, such as those of the run, would reach only some of the readers.
                if self._history[-1].state == TERMINATED and after == self._history[-1].version:
                    return  # the reader already knows the final status
                if not events and not await self._change(keepalive):
                    yield None
        finally:
            self.watchers -= 1

    async def _change(self, seconds: float | None) -> bool:
        """Wait for the next status; return False on a timeout."""
        woken = asyncio.get_running_loop().create_future()
        self._waiting[woken] = None
        try:
            async with asyncio.timeout(seconds):
                await woken
        except TimeoutError:
            return False
        finally:
            self._waiting.pop(woken, None)
        return True

    def _events_after(self, after: int) -> tuple[list[StatusEvent], Missed | None]:
        first, last = self._history[0].version, self._history[-1].version
        if after > last:
            return [self._history[-1]], Missed(last + 1, after)
        missed = Missed(after + 1, first - 1) if after + 1 < first else None
        # From the end, since a reader that keeps up reads little of a long history.
        events: list[StatusEvent] = []
        for event in reversed(self._history):
            if event.version <= after:
                break
            events.append(event)
        events.reverse()
        return events, missed
