"""A preview of the run for the status, so that the status at the start of an operation already names its run.

The id and the status of the run follow from the events alone, so that the event loop can show them without the store. The id
is chosen here, before the store has the run. The run's name and experiment are added when the run has been written. The
recorder's thread corrects the preview if a run to resume does not exist or was deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from mistk_service.core.events import ActivityBegan, ActivityEnded, Event
from mistk_service.kinds.kind import Kind
from mistk_service.recording.activities import Activities
from mistk_service.recording.run_options import RunOptions


@dataclass(frozen=True)
class NextRun:
    """The next run.

    Attributes:
        life: the number of the instance's life that it belongs to; a life lasts from one ``initialize`` or reset to the next.
        run_id: the id of a new run; None lets the store choose.
    """

    life: int
    run_id: str | None = None


class RunPreview:
    """Shows the run in the status. Used on the event loop.

    Args:
        run_options: the defaults of ``initialize``.
        show: shows the run in the status; None removes it.
        root: the path prefix under which a reverse proxy serves the container.
    """

    def __init__(
        self, kind: Kind, run_options: RunOptions, show: Callable[[dict[str, Any] | None], None], root: str = ""
    ) -> None:
        self._operations = kind.operations
        self._root = root
        self._default = run_options
        self._show = show
        self._life = 0
        self._is_open = False
        self._written = asyncio.Event()
        self._next_id = uuid4().hex
        #: The run of the first life.
        self.first_run = self.restart()

    def restart(self, properties: Mapping[str, Any] | None = None) -> NextRun:
        """Start the next life of the instance, with the properties of ``initialize``, and return its run."""
        if self._is_open:
            # Only one run is resumed; the next one is new.
            self._default = replace(self._default, run_id=None)
            self._show(None)
        run_options = self._default if properties is None else self._default.overridden(properties)
        following, self._next_id = NextRun(self._life + 1, self._next_id), uuid4().hex
        self._life, self._is_open = following.life, False
        self._description: dict[str, Any] = {"id": run_options.run_id or following.run_id}
        if run_options.run_id is None and run_options.run_name is not None:
            self._description["name"] = run_options.run_name
        self._activities = Activities(self._operations)
        self._written.set()
        self._written = asyncio.Event()
        return following

    def run_id(self, operation: str, arguments: tuple[Any, ...]) -> str | None:
        """Return the id of the open run, or of the run that an operation opens; None if there is neither."""
        row = self._operations[operation]
        if row.configures_run is not None and row.opens_run:
            return self._default.overridden(row.configures_run(arguments).properties).run_id or self._next_id
        is_there = self._is_open or row.opens_run
        return str(self._description["id"]) if is_there else None

    def observe(self, event: Event) -> None:
        """Handle an event, and update the status."""
        if isinstance(event, ActivityBegan):
            self._activities.begin(event)
            self._is_open = self._is_open or self._operations[event.operation].opens_run
            self._update()
        elif isinstance(event, ActivityEnded) and event.operation in self._activities.running:
            self._activities.end(event)
            self._update()

    def confirm(self, life: int, description: Mapping[str, Any]) -> None:
        """Take the description of the run that was written, unless it belongs to an earlier life."""
        if life != self._life:
            return
        self._is_open = True
        self._description = dict(description)
        self._written.set()
        self._update()

    async def written(self, seconds: float) -> None:
        """Wait until the store has the run that is shown, for a limited time."""
        if self._is_open and not self._written.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._written.wait()

    def _update(self) -> None:
        if not self._is_open:
            return
        run_id = self._description["id"]
        link = f"{self._root}/#/runs/{run_id}"
        self._show({**self._description, "status": self._activities.status.name, "link": link})
