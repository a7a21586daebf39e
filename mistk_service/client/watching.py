"""The status as a stream that survives broken connections.

The service keeps a history of its status, and a watch says from which version on it wants to know it; so a connection
that breaks costs nothing but another one.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

import httpx

from mistk_service.client.responses import error_answer, shown
from mistk_service.client.status import ModelStatus, WatchEvent
from mistk_service.errors import AnswerNotUnderstood, RequestFailed, ServiceUnreachable
from mistk_service.kinds.model.states import State

__all__ = ["Clock", "StatusStream"]

#: Seconds without a byte, keepalives included, after which a connection counts as broken.
SILENCE = 60.0

#: Seconds that it may take to connect.
CONNECT = 10.0

#: Seconds between attempts to connect again: none before the first, then these, doubling from one to the other.
FIRST_DELAY, LONGEST_DELAY = 0.1, 5.0

#: Answers of a proxy, or of a service that is about to stop, that another attempt may not get.
_PASSING = frozenset({502, 503, 504})


@dataclass(frozen=True)
class Clock:
    """The time, so that a test can bring its own."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class StatusStream:
    """Every event of a status after a version, until the state is ``terminated``. To be iterated over once.

    Args:
        http: what to connect with.
        url: the address of the status.
        after: the last version that is known; None for everything that the service keeps.
        give_up_after: how many seconds without contact are borne.
        deadline: the reading of the clock at which to raise TimeoutError, if at all.
    """

    def __init__(
        self,
        http: httpx.Client,
        url: httpx.URL,
        after: int | None,
        *,
        give_up_after: float,
        deadline: float | None = None,
        clock: Clock = Clock(),
    ) -> None:
        self._http = http
        self._url = url
        self._after = after
        self._deadline = deadline
        self._clock = clock
        self._patience = _Patience(give_up_after, clock, shown(url))
        self._container: str | None = None
        self._asked = False

    def __iter__(self) -> Generator[WatchEvent, None, None]:
        """Yield the events.

        Raises:
            ServiceUnreachable: there was no contact for too long.
            ErrorAnswer: the service refuses the watch.
            AnswerNotUnderstood: what answers does not speak the contract.
            TimeoutError: the deadline has passed.
        """
        while True:
            self._time_left()
            cause: Exception | None = None
            try:
                with closing(self._connection()) as events:
                    for event in events:
                        yield event
                        if event.status.state is State.TERMINATED:
                            return
            except httpx.RequestError as error:
                cause = error
            except RequestFailed as error:
                if error.code not in _PASSING:
                    raise
                cause = error
            if cause is None and self._was_over_before():
                return
            self._patience.bear(cause, self._time_left())

    def _connection(self) -> Generator[WatchEvent, None, None]:
        """Yield the events of one connection, without those that are known already."""
        params: dict[str, str | int] = {"watch": "true"}
        if self._after is not None:
            params["resourceVersion"] = self._after
        left = self._time_left()
        silence = SILENCE if left is None else min(SILENCE, left)
        timeout = httpx.Timeout(silence, connect=min(CONNECT, silence))
        headers = {"Accept": "application/x-ndjson"}
        with self._http.stream("GET", self._url, params=params, headers=headers, timeout=timeout) as response:
            if response.status_code != 200:
                response.read()
                raise error_answer(response)
            with _cut_off_after(response, left):
                for line in self._lines(response):
                    event = self._parse(line)
                    if self._is_new(event):
                        yield event

    def _lines(self, response: httpx.Response) -> Iterator[bytes]:
        """Yield the lines that are whole and not blank.

        They are divided at line feeds alone; httpx's own iter_lines also divides at U+2028, which JSON may contain.
        """
        rest = b""
        for chunk in response.iter_bytes():
            self._patience.contact()
            self._time_left()
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line for line in lines if line.strip())

    def _parse(self, line: bytes) -> WatchEvent:
        try:
            return WatchEvent.from_wire(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            where = shown(self._url)
            raise AnswerNotUnderstood(
                f"What answers at {where} does not send the status of a model container ({error!r}): {line[:200]!r}",
                url=where,
            ) from error

    def _is_new(self, event: WatchEvent) -> bool:
        """Tell whether an event has not been seen, and note that it has been now.

        The versions of another container begin anew, so they say nothing there.
        """
        container, version = event.status.object_info.id, event.status.resource_version
        known = self._after is not None and version <= self._after
        if known and event.missed is None and container == (self._container or container):
            return False
        self._container, self._after = container, version
        self._patience.news()
        return True

    def _was_over_before(self) -> bool:
        """Tell, after a stream that ended well, whether that was because the version it began after is the last of all.

        Such a stream says nothing, like one that a proxy ends, so the status is asked for, once.
        """
        if self._asked or self._container is not None:
            return False
        self._asked = True
        left = self._time_left()
        try:
            response = self._http.get(self._url, timeout=CONNECT if left is None else min(CONNECT, left))
            status = ModelStatus.from_wire(response.json())
        except (httpx.RequestError, ValueError, KeyError, TypeError, AttributeError):
            return False  # the next attempt will tell what is wrong
        return status.state is State.TERMINATED and status.resource_version == self._after

    def _time_left(self) -> float | None:
        """Return the seconds until the deadline, if there is one.

        Raises:
            TimeoutError: it has passed.
        """
        if self._deadline is None:
            return None
        left = self._deadline - self._clock.now()
        if left <= 0:
            raise TimeoutError
        return left


class _Patience:
    """How long to go on trying, and how fast, while there is no contact."""

    def __init__(self, limit: float, clock: Clock, where: str) -> None:
        self._limit = limit
        self._clock = clock
        self._where = where
        self._lost_at: float | None = None
        self._delay = 0.0

    def contact(self) -> None:
        """Note that the service was heard."""
        self._lost_at = None

    def news(self) -> None:
        """Note that a connection was good for something; the next one need not wait."""
        self._delay = 0.0

    def bear(self, cause: Exception | None, time_left: float | None) -> None:
        """Wait before the next attempt.

        Raises:
            ServiceUnreachable: it has been too long.
        """
        now = self._clock.now()
        if self._lost_at is None:
            self._lost_at = now
        left = self._limit - (now - self._lost_at)
        if left <= 0:
            reason = str(cause) or type(cause).__name__ if cause else "it ends the stream at once"
            raise ServiceUnreachable(
                f"No contact with {self._where} for {self._limit:g} s ({reason}). Is the container still running?",
                url=self._where,
            ) from cause
        delay = min(self._delay, left, left if time_left is None else time_left)
        self._delay = min(LONGEST_DELAY, max(FIRST_DELAY, 2 * self._delay))
        if delay > 0:
            self._clock.sleep(delay)


@contextmanager
def _cut_off_after(response: httpx.Response, seconds: float | None) -> Iterator[None]:
    """End the response's connection after so many seconds.

    httpx can limit the silence in between, and keepalives are no silence. A transport without a socket is not cut off;
    there the deadline shows when the next bytes arrive.
    """
    stream = response.extensions.get("network_stream")
    sock = stream.get_extra_info("socket") if stream is not None else None
    if seconds is None or sock is None:
        yield
        return

    def cut() -> None:
        # OSError: it is closed already. And not sock.shutdown, which takes the encryption off an SSL socket being read.
        with suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        # Once this is left, the connection may serve another request, and must not be cut off any more.
        timer.join()
