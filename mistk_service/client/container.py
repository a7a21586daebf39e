"""The client of a container of any kind: calls by name, and the waiting that goes with them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from types import TracebackType
from typing import Any, ClassVar, Self

import httpx

from mistk_service.client.responses import decoded, error_answer, parse_base_url, shown, unreachable
from mistk_service.client.status import ModelStatus, WatchEvent
from mistk_service.client.waiting import Wait
from mistk_service.client.watching import StatusStream
from mistk_service.errors import InvalidRequest, ServiceUnreachable
from mistk_service.kinds import Kind
from mistk_service.kinds.model import MODEL

__all__ = ["ContainerClient"]

#: Seconds that a call may take.
TIMEOUT = 60.0

#: Seconds that the question for the present state may take in the shortest of waits, of 0 seconds too.
SHORTEST_TIMEOUT = 1.0

#: Seconds without contact after which a watch gives up.
GIVE_UP_AFTER = 10.0

_JSON = {"Content-Type": "application/json"}


class ContainerClient:
    """A client of one container of any kind. Threads may share it; close it, or use it as a context manager.

    The methods of operations return as soon as the service has accepted the operation; what they return is the status
    at that moment, from which :meth:`wait_for` and :meth:`watch` go on. All of them raise

    * :class:`~mistk_service.errors.RequestRefused` if the service does not accept the call; nothing has changed then,
    * :class:`~mistk_service.errors.RequestFailed` if the service fails over it,
    * :class:`~mistk_service.errors.ServiceUnreachable` if there is no answer, or not in time,
    * :class:`~mistk_service.errors.AnswerNotUnderstood` if what answers is no model container,
    * :class:`~mistk_service.errors.InvalidRequest` if an argument cannot be sent.

    Args:
        base_url: the address of the service, such as ``http://localhost:8080``; with or without the base path of the API.
        timeout: how many seconds a call may take; None for any number.
        transport: what to send with, for tests and special networks.
        headers: sent with every request, such as an authorization that a proxy wants.
        give_up_after: how many seconds without contact a watch bears before it gives up.

    Raises:
        InvalidRequest: ``base_url`` is no such address.
    """

    #: The kind of container that the client talks to.
    kind: ClassVar[Kind] = MODEL

    def __init__(
        self,
        base_url: str,
        *,
        timeout: float | None = TIMEOUT,
        transport: httpx.BaseTransport | None = None,
        headers: Mapping[str, str] | None = None,
        give_up_after: float = GIVE_UP_AFTER,
    ) -> None:
        root = parse_base_url(base_url, self.kind.base_path)
        self._shown = shown(root).rstrip("/")
        self._timeout = timeout
        self._give_up_after = give_up_after
        self._http = httpx.Client(base_url=root, timeout=timeout, transport=transport, headers=headers)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._shown}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # --- operations -----------------------------------------------------------------------------------------------

    def call(self, operation: str, *, body: Any = None, **query: str | os.PathLike[str] | None) -> ModelStatus:
        """Call an operation by its name.

        Args:
            operation: the last part of its path.
            body: what JSON can express; None for an operation without a body.
            **query: the parameters of the query; None for one that is not given.
        """
        return decoded(self._send("POST", self._path(operation), body=body, query=query), self._read_status)

    def reset(self) -> ModelStatus:
        """Begin anew, with a fresh model in a fresh process; what was not saved is lost."""
        return self.call("reset")

    def shutdown(self) -> ModelStatus:
        """Shut the container down; what was not saved is lost."""
        return self.call("shutdown")

    # --- questions ------------------------------------------------------------------------------------------------

    def status(self) -> ModelStatus:
        """Return the status as it is now."""
        return decoded(self._send("GET", self._path("status")), self._read_status)

    def api_version(self) -> str:
        """Return the version of the contract that the service speaks."""
        return decoded(self._send("GET", self._path("apiVersion")), _text)

    def ready(self) -> bool:
        """Tell whether the model can take work; a service that does not answer is not ready."""
        return self._is_well("readyz")

    def healthy(self) -> bool:
        """Tell whether the service answers, whatever its model does."""
        return self._is_well("healthz")

    # --- following ------------------------------------------------------------------------------------------------

    def watch(self, resource_version: int | None = None) -> Generator[WatchEvent, None, None]:
        """Follow the status until it is ``terminated``; a connection that breaks is made again, and nothing is lost.

        Args:
            resource_version: what comes after this version is of interest, 0 for all that the service keeps; None to begin
                with the present status.

        Yields:
            the events, in order, none twice. ``event.missed`` says when the service did not keep what came between.

        Raises:
            ServiceUnreachable: there was no contact for ``give_up_after`` seconds.
        """
        yield from self._stream(resource_version)

    def wait_for(
        self,
        states: str | Iterable[str],
        *,
        timeout: float | None = None,
        since: ModelStatus | None = None,
    ) -> ModelStatus:
        """Wait until the model is in a state, or in one of several.

        With ``since``, the status that an operation returned, that state counts which the operation leads to, however
        fast: ``wait_for("ready", since=client.train())`` is never taken in by the ``ready`` before the training.

        Args:
            states: a state, or several (``"ready"``, ``State.READY``, ``{"paused", "ready"}``).
            timeout: how many seconds to wait at most; None for any number.
            since: what was before it does not count; without it the wait begins now, with the present state.

        Returns:
            The status in which the state was reached.

        Raises:
            WaitFailed: the state will not be reached: the model failed, the container shut down or was replaced by
                another, or a pause that was waited for did not come about.
            WaitTimedOut: it was not reached in time.
            ServiceUnreachable: there was no contact for ``give_up_after`` seconds.
        """
        wait = Wait(states, self.kind.states)
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            status = since if since is not None else self._status_within(timeout)
            with closing(self._stream(status.resource_version, deadline)) as events:
                while not wait.is_over(status):
                    status = next(events).status
        except TimeoutError:
            raise wait.timed_out(timeout) from None
        return status

    def _status_within(self, seconds: float | None) -> ModelStatus:
        """Return the status as it is now.

        Raises:
            TimeoutError: it was not to be had within so many seconds, fewer than a call may take anyway.
        """
        if seconds is None or (self._timeout is not None and self._timeout <= seconds):
            return self.status()
        limit = max(seconds, SHORTEST_TIMEOUT)
        try:
            return decoded(self._send("GET", self._path("status"), timeout=limit), self._read_status)
        except ServiceUnreachable as error:
            if isinstance(error.__cause__, httpx.TimeoutException):
                raise TimeoutError from error
            raise

    def _stream(self, after: int | None, deadline: float | None = None) -> Generator[WatchEvent, None, None]:
        url = self._http.base_url.join(self._path("status"))
        yield from StatusStream(
            self._http, url, after, give_up_after=self._give_up_after, deadline=deadline, states=self.kind.states
        )

    # --- requests -------------------------------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        return f"{self.kind.base_path}/{name}".lstrip("/")

    def _read_status(self, wire: Any) -> ModelStatus:
        return ModelStatus.from_wire(wire, self.kind.states)

    def _is_well(self, path: str) -> bool:
        try:
            response = self._send("GET", path)
        except ServiceUnreachable:
            return False
        if response.status_code not in {200, 503}:
            raise error_answer(response)
        return response.status_code == 200

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str | os.PathLike[str] | None] | None = None,
        timeout: float | None = None,
    ) -> httpx.Response:
        """Send a request; ``timeout`` is shorter than the client's own, or None for that."""
        limit = self._timeout if timeout is None else timeout
        params = {key: os.fspath(value) for key, value in (query or {}).items() if value is not None}
        content = None if body is None else _encoded(body)
        headers = None if body is None else _JSON
        with unreachable(method, self._http.base_url.join(path), limit):
            return self._http.request(method, path, params=params, content=content, headers=headers, timeout=limit)


def _encoded(body: Any) -> bytes:
    """Return the JSON of a body.

    Raises:
        InvalidRequest: JSON cannot express it.
    """
    try:
        return json.dumps(body, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"The request holds a value that JSON cannot express: {error}.") from error
    except RecursionError as error:
        raise InvalidRequest(
            "The request holds a value that is nested too deeply to be sent as JSON; expected at most 100 lists and mappings "
            "in one another."
        ) from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a string, not {type(value).__name__}")
    return value
