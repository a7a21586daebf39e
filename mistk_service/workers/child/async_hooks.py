"""Runs hooks that are coroutines or asynchronous generators.

The worker's main thread keeps one event loop for all of them, so that one hook can open a client that the next one uses. The
loop only runs while a hook runs.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator
from typing import Any

from mistk_service.kinds.component import Component

_local = threading.local()

#: Stands for the end of an asynchronous generator.
_END = object()


@contextlib.contextmanager
def plain_hooks(model: Component, hooks: Iterable[str]) -> Iterator[None]:
    """Replace the asynchronous hooks of a model by plain ones. During the block, this thread keeps an event loop for them."""
    found = {name: plain for name in hooks if (plain := _plain(getattr(model, name))) is not None}
    for name, plain in found.items():
        setattr(model, name, plain)
    if not found:
        yield
        return
    import asyncio  # late, since most models do not need it

    with asyncio.Runner() as runner:
        _local.runner = runner
        try:
            yield
        finally:
            del _local.runner


def _plain(hook: Callable[..., Any]) -> Callable[..., Any] | None:
    """Return an asynchronous function as a plain one, and None for any other."""
    if inspect.iscoroutinefunction(hook):
        return functools.wraps(hook)(lambda *args, **kwargs: _result(hook(*args, **kwargs)))
    if not inspect.isasyncgenfunction(hook):
        return None

    @functools.wraps(hook)
    def parts(*args: Any, **kwargs: Any) -> Iterator[Any]:
        answers = hook(*args, **kwargs)
        try:
            while (part := _result(_next(answers))) is not _END:
                yield part
        finally:
            _result(answers.aclose())

    return parts


async def _next(answers: AsyncGenerator[Any, None]) -> Any:
    return await anext(answers, _END)


def _result(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of a coroutine, on the event loop that this thread keeps, if it has one."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        runner = getattr(_local, "runner", None)
        try:
            return asyncio.run(coroutine) if runner is None else runner.run(coroutine)
        except asyncio.CancelledError as error:
            # The service cancels no hook. As it is, the error would end the worker, as SystemExit does.
            raise RuntimeError("the hook awaited a task that was cancelled") from error
    # A hook that runs while another one is paused. A thread runs one event loop at a time.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as other:
        return other.submit(asyncio.run, coroutine).result()
