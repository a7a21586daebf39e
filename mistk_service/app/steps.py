"""Runs operations in sequence inside the service, without an orchestrator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from mistk_service.core.controller import Controller
from mistk_service.core.events import ActivityEnded, Event, NoticeShown
from mistk_service.errors import HookFailed, InvalidRequest
from mistk_service.kinds.call import Call


class Interrupted(Exception):
    """The instance is shutting down, so the remaining steps are skipped."""


class Steps:
    """Calls operations and waits until they have ended.

    Register :meth:`observe` with the controller.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[Event], bool], asyncio.Future[Any]]] = []
        self._notice = ""

    def observe(self, event: Event) -> None:
        """Handle an event of the controller."""
        if isinstance(event, NoticeShown):
            self._notice = event.notice
        for accepts, future in self._waiting:
            if not future.done() and accepts(event):
                future.set_result(event)
        self._waiting = [(accepts, future) for accepts, future in self._waiting if not future.done()]

    def expect(self, accepts: Callable[[Event], bool]) -> asyncio.Future[Any]:
        """Return a future for the next event that a function accepts."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((accepts, future))
        return future

    async def do(self, controller: Controller, operation: str, call: Call = Call()) -> None:  # noqa: B008 - it is frozen
        """Call an operation and wait until it has ended.

        Raises:
            InvalidRequest: the model or the service refused it.
            OperationRefused: the class does not implement it.
            HookFailed: the model failed.
            Interrupted: the instance is shutting down.
        """
        if controller.terminating:
            raise Interrupted
        end = self.expect(lambda event: isinstance(event, ActivityEnded) and event.operation == operation)
        await controller.call(operation, call)
        ended: ActivityEnded = await end
        if ended.failure is not None:
            raise HookFailed(operation, ended.failure)
        if ended.outcome == "stopped":
            raise Interrupted
        if ended.outcome != "completed":
            raise InvalidRequest(self._notice)
