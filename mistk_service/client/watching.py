"""The status as a stream that survives broken connections.

The service keeps a history of its status, and a watch names the last version that it has seen. So it can resume after a
broken connection without losing an event.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from enum import StrEnum
from typing import Any

import httpx

from mistk_service.client.connections import Connections
from mistk_service.client.responses import error_answer, shown
from mistk_service.client.status import ModelStatus, WatchEvent
from mistk_service.errors import AnswerNotUnderstood, RequestFailed, ServiceUnreachable
from mistk_service.kinds.kind import TERMINATED
from mistk_service.kinds.model.states import State

#: Seconds without a byte, keep-alives included, after which a connection counts as broken.
READ_TIMEOUT = 60.0

#: Maximum seconds for connecting.
CONNECT_TIMEOUT = 10.0

#: Seconds between attempts to reconnect: none before the first attempt, then doubling from the first to the second number.
FIRST_DELAY, LONGEST_DELAY = 0.1, 5.0

#: Temporary errors, from a proxy or from a service that is shutting down.
_TEMPORARY = frozenset({502, 503, 504})


class StatusStream:
    """Every event of a status after a version, until the state is ``terminated``.

    Args:
        after: the last version seen; None for everything that the service keeps.
        give_up_after: seconds without contact before the stream fails.
        deadline: when to raise TimeoutError, on the clock; None for never.
    """

    def __init__(
        self,
        connections: Connections,
        url: httpx.URL,
        after: int | None,
        *,
        give_up_after: float,
        deadline: float | None = None,
        states: type[StrEnum] = State,
    ) -> None:
        self._connections = connections
        self._states = states
        self._url = url
        self._after = after
        self._deadline = deadline
        self._retry = _Retry(give_up_after, connections, shown(url))
        self._container: str | None = None
        self._checked_end = False

    async def events(self) -> AsyncGenerator[WatchEvent, None]:
        """Yield the events. Can be called once.

        Raises:
            ServiceUnreachable: there was no contact for ``give_up_after`` seconds.
            ErrorAnswer: the service refuses the watch.
            AnswerNotUnderstood: the response does not follow the contract.
            TimeoutError: the deadline has passed.
        """
        while True:
            self._time_left()
            cause: Exception | None = None
            try:
                async with aclosing(self._connection()) as events:
                    async for event in events:
                        yield event
                        if event.status.state == TERMINATED:
                            return
            except httpx.RequestError as error:
                cause = error
            except RequestFailed as error:
                if error.code not in _TEMPORARY:
                    raise
                cause = error
            if cause is None and await self._has_ended():
                return
            await self._retry.wait(cause, self._time_left())

    async def _connection(self) -> AsyncGenerator[WatchEvent, None]:
        """Yield the new events of one connection."""
        params: dict[str, str | int] = {"watch": "true"}
        if self._after is not None:
            params["resourceVersion"] = self._after
        left = self._time_left()
        read_timeout = READ_TIMEOUT if left is None else min(READ_TIMEOUT, left)
        timeout = httpx.Timeout(read_timeout, connect=min(CONNECT_TIMEOUT, read_timeout))
        options: dict[str, Any] = {"params": params, "headers": {"Accept": "application/x-ndjson"}, "timeout": timeout}
        async with self._connections.stream(self._url, left, **options) as (response, parts):
            if response.status_code != 200:
                raise error_answer(response)
            async for line in self._lines(parts):
                event = self._parse(line)
                if self._is_new(event):
                    yield event

    async def _lines(self, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the complete lines that are not blank.

        Lines end at line feeds alone; httpx's own iter_lines also splits at U+2028, which JSON may contain.
        """
        rest = b""
        async for chunk in parts:
            self._retry.contact()
            self._time_left()
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.strip():
                    yield line

    def _parse(self, line: bytes) -> WatchEvent:
        try:
            return WatchEvent.from_wire(json.loads(line), self._states)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            where = shown(self._url)
            raise AnswerNotUnderstood(
                f"The server at {where} does not send the status of a model container ({error!r}): {line[:200]!r}",
                url=where,
            ) from error

    def _is_new(self, event: WatchEvent) -> bool:
        """Return whether an event has not been seen, and mark it as seen.

        Another container counts its versions from the beginning, so that they cannot be compared.
        """
        container, version = event.status.object_info.id, event.status.resource_version
        known = self._after is not None and version <= self._after
        if known and event.missed is None and container == (self._container or container):
            return False
        self._container, self._after = container, version
        self._retry.progressed()
        return True

    async def _has_ended(self) -> bool:
        """Return whether a stream that ended normally did so because there are no events after the first version.

        Such a stream is empty, like one that a proxy closes, so the status is requested, once.
        """
        if self._checked_end or self._container is not None:
            return False
        self._checked_end = True
        left = self._time_left()
        try:
            timeout = CONNECT_TIMEOUT if left is None else min(CONNECT_TIMEOUT, left)
            response = await self._connections.request("GET", self._url, timeout=timeout)
            status = ModelStatus.from_wire(response.json(), self._states)
        except (httpx.RequestError, ValueError, KeyError, TypeError, AttributeError):
            return False  # the next attempt shows the cause
        return status.state == TERMINATED and status.resource_version == self._after

    def _time_left(self) -> float | None:
        """Return the seconds until the deadline, if there is one.

        Raises:
            TimeoutError: the deadline has passed.
        """
        if self._deadline is None:
            return None
        left = self._deadline - self._connections.now()
        if left <= 0:
            raise TimeoutError
        return left


class _Retry:
    """Decides how long to wait between attempts to reconnect, and when to give up."""

    def __init__(self, limit: float, connections: Connections, where: str) -> None:
        self._limit = limit
        self._connections = connections
        self._where = where
        self._lost_at: float | None = None
        self._delay = 0.0

    def contact(self) -> None:
        """Record that bytes have arrived from the service."""
        self._lost_at = None

    def progressed(self) -> None:
        """Record that a connection has delivered an event, so that the next attempt is made at once."""
        self._delay = 0.0

    async def wait(self, cause: Exception | None, time_left: float | None) -> None:
        """Wait before the next attempt.

        Raises:
            ServiceUnreachable: there was no contact for too long.
        """
        now = self._connections.now()
        if self._lost_at is None:
            self._lost_at = now
        left = self._limit - (now - self._lost_at)
        if left <= 0:
            reason = str(cause) or type(cause).__name__ if cause else "the stream ends at once"
            raise ServiceUnreachable(
                f"No contact with {self._where} for {self._limit:g} s ({reason}). Is the container still running?",
                url=self._where,
            ) from cause
        delay = min(self._delay, left, left if time_left is None else time_left)
        self._delay = min(LONGEST_DELAY, max(FIRST_DELAY, 2 * self._delay))
        if delay > 0:
            await self._connections.sleep(delay)
