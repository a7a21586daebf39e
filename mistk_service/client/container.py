"""The client of a container of any kind: calls by name, and waiting for their results."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import ssl
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, ClassVar, Self

import httpx
import msgspec

from mistk_service.client.connections import AsyncConnections, BlockingConnections, Connections
from mistk_service.client.dual import Asyncio, Blocking, DualIterator, DualMethod
from mistk_service.client.responses import authorization, decoded, error_answer, parse_base_url, shown, unreachable
from mistk_service.client.status import ModelStatus, WatchEvent
from mistk_service.client.waiting import Wait
from mistk_service.client.watching import READ_TIMEOUT, StatusStream
from mistk_service.errors import InvalidRequest, ServiceUnreachable
from mistk_service.kinds import Kind
from mistk_service.kinds.model import MODEL

#: The default timeout of a call, in seconds.
TIMEOUT = 60.0

#: The minimum timeout, in seconds, of the request for the current status in a wait. It also applies to a wait of 0 seconds.
SHORTEST_TIMEOUT = 1.0

#: The default time without contact after which a watch gives up, in seconds.
GIVE_UP_AFTER = 10.0

_JSON = {"Content-Type": "application/json"}


class ContainerCalls:
    """The calls of a container of any kind, for :class:`ContainerClient` and :class:`AsyncContainerClient`.

    A kind adds its own in a subclass.
    """

    #: The kind of container that the client works with.
    kind: ClassVar[Kind] = MODEL

    def __init__(
        self,
        base_url: str,
        *,
        timeout: float | None = TIMEOUT,
        transport: httpx.BaseTransport | httpx.AsyncBaseTransport | None = None,
        headers: Mapping[str, str] | None = None,
        give_up_after: float = GIVE_UP_AFTER,
    ) -> None:
        root = parse_base_url(base_url, self.kind.base_path)
        sent = httpx.Headers(headers)
        if "Authorization" not in sent and (login := authorization(root)) is not None:
            sent["Authorization"] = login
        self._root = root.copy_with(userinfo=b"")
        self._timeout = timeout
        self._give_up_after = give_up_after
        #: The last status that was requested, and whether the service accepts operations without returning one.
        self._last: ModelStatus | None = None
        self._returns_no_status = False
        self._connections = self._connect(timeout=timeout, transport=transport, headers=sent, verify=_certificates())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.address}>"

    @property
    def address(self) -> str:
        """The URL of the service, without credentials."""
        return shown(self._root).rstrip("/")

    def _connect(self, **options: Any) -> Connections:
        """Return the connections of the client; ``options`` are those of :class:`httpx.Client`."""
        raise NotImplementedError

    @DualMethod
    async def close(self) -> None:
        """Close the connections."""
        await self._connections.close()

    # --- operations -----------------------------------------------------------------------------------------------

    @DualMethod
    async def call(self, operation: str, /, *, body: Any = None, **query: str | os.PathLike[str] | None) -> ModelStatus:
        """Call an operation by its name.

        Args:
            operation: the last part of its path.
            body: a value that JSON can express; None for an operation without a body.
            **query: the query parameters; None values are left out.
        """
        return await self._call(operation, body=body, **query)

    @DualMethod
    async def reset(self) -> ModelStatus:
        """Start over with a new model in a new process. Unsaved results are lost."""
        return await self._call("reset")

    @DualMethod
    async def shutdown(self) -> ModelStatus:
        """Shut the container down. Unsaved results are lost."""
        return await self._call("shutdown")

    # --- requests for information ---------------------------------------------------------------------------------

    @DualMethod
    async def status(self) -> ModelStatus:
        """Return the current status."""
        return await self._status()

    @DualMethod
    async def api_version(self) -> str:
        """Return the version of the service's contract."""
        return decoded(await self._send("GET", self._path("apiVersion")), lambda value: msgspec.convert(value, str))

    @DualMethod
    async def ready(self) -> bool:
        """Return whether the model can accept work. A service that does not respond is not ready."""
        return await self._is_well("readyz")

    @DualMethod
    async def healthy(self) -> bool:
        """Return whether the service responds, whatever the state of its model."""
        return await self._is_well("healthz")

    # --- watching and waiting -------------------------------------------------------------------------------------

    @DualIterator
    async def watch(self, resource_version: int | None = None) -> AsyncGenerator[WatchEvent, None]:
        """Watch the status until it is ``terminated``. Broken connections are resumed without losing an event.

        Args:
            resource_version: yield the events after this version, 0 for all that the service keeps; None to begin with the
                current status.

        Yields:
            the events, in order and without duplicates. ``event.missed`` says which versions the service no longer had.

        Raises:
            ServiceUnreachable: there was no contact for ``give_up_after`` seconds.
        """
        async with aclosing(self._events(resource_version)) as events:
            async for event in events:
                yield event

    @DualMethod
    async def wait_for(
        self,
        states: str | Iterable[str],
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - it is the name of the argument for blocking clients too
        since: ModelStatus | None = None,
        on_status: Callable[[ModelStatus], object] = lambda _: None,
    ) -> ModelStatus:
        """Wait until the model is in a state, or in one of several.

        Pass the status that an operation returned as ``since`` to wait for the result of that operation, however fast it is:
        ``wait_for("ready", since=client.train())`` ignores the ``ready`` before the training.

        Args:
            states: a state, or several (``"ready"``, ``State.READY``, ``{"paused", "ready"}``).
            timeout: the maximum number of seconds to wait; None for no timeout.
            since: ignore this status and earlier ones. Without it, the wait begins with the current status.
            on_status: called with each status until then, for example to show the progress.

        Returns:
            The status in which the state was reached.

        Raises:
            WaitFailed: the state will not be reached: the model failed, the container shut down or was replaced by another, or
                an expected pause did not happen.
            WaitTimedOut: the state was not reached in time.
            ServiceUnreachable: there was no contact for ``give_up_after`` seconds.
        """
        wait = Wait(states, self.kind.states)
        deadline = None if timeout is None else self._connections.now() + timeout
        try:
            status = since if since is not None else await self._status_within(timeout)
            async with aclosing(self._events(status.resource_version, deadline)) as events:
                while not wait.is_over(status):
                    status = (await anext(events)).status
                    on_status(status)
        except TimeoutError:
            raise wait.timed_out(timeout) from None
        return status

    async def _status_within(self, seconds: float | None) -> ModelStatus:
        """Return the current status.

        Raises:
            TimeoutError: it did not arrive within the timeout, which is shorter than that of a call.
        """
        if seconds is None or (self._timeout is not None and self._timeout <= seconds):
            return await self._status()
        limit = max(seconds, SHORTEST_TIMEOUT)
        try:
            return await self._status(limit)
        except ServiceUnreachable as error:
            if isinstance(error.__cause__, httpx.TimeoutException):
                raise TimeoutError from error
            raise

    def _events(self, after: int | None, deadline: float | None = None) -> AsyncGenerator[WatchEvent, None]:
        url, states, limit = self._url(self._path("status")), self.kind.states, self._give_up_after
        stream = StatusStream(self._connections, url, after, give_up_after=limit, deadline=deadline, states=states)
        return stream.events()

    # --- HTTP -----------------------------------------------------------------------------------------------------

    async def _call(self, operation: str, *, body: Any = None, **query: str | os.PathLike[str] | None) -> ModelStatus:
        if self._returns_no_status:
            await self._status()
        response = await self._send("POST", self._path(operation), body=body, query=query)
        if response.is_success and not response.content:
            self._returns_no_status = True
            return self._accepted_status(operation, self._last or await self._status())
        return decoded(response, self._read_status)

    def _accepted_status(self, operation: str, before: ModelStatus) -> ModelStatus:
        """Return the status of an operation that a service has accepted without returning one, as MISTK's own does."""
        running = self.kind.operations[operation].running
        return dataclasses.replace(before, state=before.state if running is None else self.kind.states(running))

    async def _status(self, limit: float | None = None) -> ModelStatus:
        self._last = decoded(await self._send("GET", self._path("status"), limit=limit), self._read_status)
        return self._last

    async def _lines_of(
        self, operation: str, query: Mapping[str, str], body: Mapping[str, Any] | None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the lines of the response to a POST, decoded.

        Raises:
            ErrorAnswer: the response, or its last line, is an error.
        """
        url = self._url(self._path(operation))
        options: dict[str, Any] = {"params": dict(query), "timeout": httpx.Timeout(self._timeout, read=READ_TIMEOUT)}
        if body is not None:
            options |= {"content": _encoded(dict(body)), "headers": _JSON}
        with unreachable("POST", url, self._timeout):
            async with self._connections.stream(url, None, method="POST", **options) as (response, parts):
                if response.status_code != 200:
                    raise error_answer(response)
                rest = b""
                async for chunk in parts:
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in filter(bytes.strip, lines):
                        decoded_line = json.loads(line)
                        if error := decoded_line.get("error"):
                            raise error_answer(httpx.Response(error["code"], json=error, request=response.request))
                        yield decoded_line

    def _url(self, path: str) -> httpx.URL:
        return self._root.copy_with(path=self._root.path.rstrip("/") + "/" + path)

    def _path(self, name: str) -> str:
        return f"{self.kind.base_path}/{name}".lstrip("/")

    def _read_status(self, wire: Any) -> ModelStatus:
        return ModelStatus.from_wire(wire, self.kind.states)

    async def _is_well(self, path: str) -> bool:
        try:
            response = await self._send("GET", path)
        except ServiceUnreachable:
            return False
        if response.status_code not in {200, 503}:
            raise error_answer(response)
        return response.status_code == 200

    async def _send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str | os.PathLike[str] | None] | None = None,
        limit: float | None = None,
    ) -> httpx.Response:
        """Send a request. ``limit`` is a shorter timeout than the client's own; None means the client's own."""
        limit = self._timeout if limit is None else limit
        params = {key: os.fspath(value) for key, value in (query or {}).items() if value is not None}
        content = None if body is None else _encoded(body)
        headers = None if body is None else _JSON
        options = {"params": params or None, "content": content, "headers": headers, "timeout": limit}
        with unreachable(method, self._url(path), limit):
            return await self._connections.request(method, self._url(path), **options)


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Return what verifies servers. Reading all certificates takes 20 ms, and each new client would block its event loop."""
    return httpx.create_ssl_context()


class ContainerClient(ContainerCalls, Blocking):
    """A client of one container of any kind. It is thread-safe. Close it, or use it as a context manager.

    The methods of operations return the current status as soon as the service has accepted the operation. Pass it to
    :meth:`wait_for`, or its version to :meth:`watch`, to follow the operation. All methods raise

    * :class:`~mistk_service.errors.RequestRefused` if the service does not accept the call; nothing has changed then,
    * :class:`~mistk_service.errors.RequestFailed` if the service failed to handle the call,
    * :class:`~mistk_service.errors.ServiceUnreachable` if the service does not respond, or not in time,
    * :class:`~mistk_service.errors.AnswerNotUnderstood` if the server is not a model container,
    * :class:`~mistk_service.errors.InvalidRequest` if an argument cannot be sent.

    Args:
        base_url: the URL of the service, such as ``http://localhost:8080``, with or without the base path of the API. It may
            have credentials: ``http://:TOKEN@localhost:8080``, or ``http://NAME:PASSWORD@localhost:8080``. By default, the
            client sends the token in the environment variable ``MISTK_CLIENT_TOKEN``, if there is one.
        timeout: the timeout of a call in seconds; None for no timeout.
        transport: the httpx transport, for tests and special networks.
        headers: headers for every request, such as an authorization that a proxy requires. ``Authorization``
            replaces the token.
        give_up_after: seconds without contact after which a watch gives up.

    Raises:
        InvalidRequest: ``base_url`` is not a valid URL of a service.
    """

    def _connect(self, **options: Any) -> Connections:
        return BlockingConnections(httpx.Client(**options))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncContainerClient(ContainerCalls, Asyncio):
    """A client of one container of any kind, for asyncio. Its methods are those of :class:`ContainerClient`, as coroutines.

    :meth:`watch` is an asynchronous generator. Use the client in one event loop, and close it, or use it as an asynchronous
    context manager.
    """

    def _connect(self, **options: Any) -> Connections:
        return AsyncConnections(httpx.AsyncClient(**options))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _encoded(body: Any) -> bytes:
    """Return the body as JSON."""
    try:
        return json.dumps(body, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"The request holds a value that JSON cannot express: {error}.") from error
    except RecursionError as error:
        raise InvalidRequest(
            "The request holds a value that is nested too deeply to be sent as JSON; expected at most 100 levels of lists "
            "and mappings."
        ) from error
