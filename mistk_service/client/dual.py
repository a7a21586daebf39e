"""Methods that are written once, as coroutines, for a blocking client and for one that works with asyncio.

An asyncio client returns the coroutine. A blocking client runs it to its end at once: its :mod:`connections
<mistk_service.client.connections>` block where those of the other client wait, so that the coroutine never suspends.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

P = ParamSpec("P")
R = TypeVar("R")


class Blocking:
    """The base of clients whose methods return when they are done."""


class Asyncio:
    """The base of clients whose methods are coroutines."""


def run(coroutine: Coroutine[Any, Any, R]) -> R:
    """Return the result of a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: R = end.value
        return result
    coroutine.close()
    raise RuntimeError("The coroutine waits for an event loop; expected one with blocking connections.")


def iterate(events: AsyncGenerator[R, None]) -> Generator[R, None, None]:
    """Yield what an asynchronous generator yields that never suspends; close it at the end."""
    try:
        while True:
            try:
                event = run(events.__anext__())
            except StopAsyncIteration:
                return
            yield event
    finally:
        run(events.aclose())


class _Dual:
    """A method of an asyncio client; the result of a blocking client's is what ``finish`` makes of it."""

    def __init__(self, function: Callable[..., Any], finish: Callable[[Any], Any]) -> None:
        self.__doc__ = function.__doc__
        self._function = function

        @functools.wraps(function)
        def blocking(*args: Any, **kwargs: Any) -> Any:
            return finish(function(*args, **kwargs))

        self._blocking = blocking

    def _bound(self, client: object, owner: type) -> Callable[..., Any]:
        function = self._blocking if issubclass(owner, Blocking) else self._function
        bound: Callable[..., Any] = function.__get__(client, owner)
        return bound


class DualMethod(_Dual, Generic[P, R]):
    """A method that is a coroutine function; a blocking client gets an ordinary one."""

    def __init__(self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]) -> None:
        super().__init__(function, run)

    @overload
    def __get__(self, client: None, owner: type) -> Callable[..., Any]: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, R]: ...
    @overload
    def __get__(self, client: Asyncio, owner: type) -> Callable[P, Coroutine[Any, Any, R]]: ...
    def __get__(self, client: object, owner: type) -> Callable[..., Any]:
        return self._bound(client, owner)


class DualIterator(_Dual, Generic[P, R]):
    """A method that is an asynchronous generator function; a blocking client gets an ordinary one."""

    def __init__(self, function: Callable[Concatenate[Any, P], AsyncGenerator[R, None]]) -> None:
        super().__init__(function, iterate)

    @overload
    def __get__(self, client: None, owner: type) -> Callable[..., Any]: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, Generator[R, None, None]]: ...
    @overload
    def __get__(self, client: Asyncio, owner: type) -> Callable[P, AsyncGenerator[R, None]]: ...
    def __get__(self, client: object, owner: type) -> Callable[..., Any]:
        return self._bound(client, owner)
