"""The versioned history of the status, and any number of readers of it.

Every published status gets the next version and is encoded once; readers share the bytes. A reader is a position in the
history and nothing else: it costs no queue and no thread, a slow one loses nothing while the history holds it, and one that
has fallen out of the history is told what it missed. Knows nothing of HTTP. Lives on the event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace

from mistk_service.core.view import Status
from mistk_service.kinds.kind import TERMINATED

__all__ = ["Missed", "StatusEvent", "StatusLog"]

#: How much of the past is kept, in events and in bytes of their encoded form.
HISTORY_EVENTS, HISTORY_BYTES = 1024, 16 * 1024 * 1024

#: Seconds between two versions that differ in the payload alone: at most twenty a second, the latest wins.
CONFLATION = 0.05

#: How many readers are woken in one turn of the event loop.
WOKEN_AT_ONCE = 16


@dataclass(frozen=True)
class Missed:
    """The versions, from first to last, that a reader asked for and that are no longer, or not yet, known."""

    first: int
    last: int


@dataclass(frozen=True)
class StatusEvent:
    """One published status.

    Attributes:
        version: the resourceVersion.
        state: the state.
        kind: ``added`` for the first status of all, ``modified`` for the others.
        status: the status, encoded.
    """

    version: int
    state: str
    kind: str
    status: bytes


class StatusLog:
    """See the module.

    Args:
        snapshot: returns what is true now; asked whenever a status is published.
        encode: encodes a status for the version that it is published under.
        conflation: see :data:`CONFLATION`.
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
        #: Readers that wait for a change, and those of them that are about to be woken.
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._to_wake: deque[asyncio.Future[None]] = deque()
        self._pending: asyncio.TimerHandle | None = None
        #: Whether something has changed since the last event, and what is true then, once it has been asked for.
        self._stale = False
        self._unpublished: StatusEvent | None = None
        #: Whether somebody was shown what is not yet published, and has to hear of what follows, even a change back.
        self._shown = False
        self._last_snapshot: Status | None = None
        self.watchers = 0
        self._publish()

    # --- writing --------------------------------------------------------------------------------------------------

    def publish(self) -> StatusEvent:
        """Publish what is true now, at once. A change of state goes this way, so none is ever dropped."""
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None
        self._publish()
        return self._history[-1]

    def touch(self) -> None:
        """Note that the status has changed; it is published soon, together with what else changes until then."""
        self._stale, self._unpublished = True, None
        if self._pending is None:
            self._pending = asyncio.get_running_loop().call_later(self._conflation, self._publish_pending)

    def latest(self) -> StatusEvent:
        """Return what is true now.

        A change that waits to be published is shown under the version before it: whoever watches from there on gets it, and
        asking often makes no versions.
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
        """Publish, unless what had changed has changed back: a brief stream prediction concerns no watcher."""
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
        """Wake a few readers now and the others in the turns that follow, so that many of them hold nobody else up."""
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
        """Yield every event after version ``after`` that the history holds, and then live, up to the first that is terminated.

        With an event comes what was missed before it, if anything was. A version that lies in the future belongs to an
        earlier life of the service, and counts as one that has been missed.

        Args:
            after: the last version that the reader knows, 0 for all that is kept; None to begin with the last one published.
            keepalive: yield None after so many seconds without an event.
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
                        return  # what changes after the end, as its run does, would reach some readers and others not
                if self._history[-1].state == TERMINATED and after == self._history[-1].version:
                    return  # a reader who knows the end already
                if not events and not await self._change(keepalive):
                    yield None
        finally:
            self.watchers -= 1

    async def _change(self, seconds: float | None) -> bool:
        """Wait for the next status; return False when the time was up before."""
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
        # From the end, since a reader that keeps up has little to read of a long history.
        events: list[StatusEvent] = []
        for event in reversed(self._history):
            if event.version <= after:
                break
            events.append(event)
        events.reverse()
        return events, missed
