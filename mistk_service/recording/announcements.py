"""The run as the status shows it, ahead of the store, so that the status that begins an operation names its run.

Which run that is and how it stands follows from the events alone, so the event loop can say it without asking the store. The
id is chosen here, before the store has the run. What only the store knows, the run's name and experiment, is added when it has
been written. The thread that writes corrects what turns out otherwise: a run to go on with that is not there, or one that
somebody has deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from mistk_service.core.events import ActivityBegan, ActivityEnded, Event
from mistk_service.kinds.kind import Kind, Operation
from mistk_service.recording.options import Steering
from mistk_service.tracking.values import RunStatus

__all__ = ["GRAVITY", "OUTCOMES", "Announcer", "NextRun", "is_aside"]

#: From how an activity ended to how the run stands, the gravest last.
OUTCOMES = {"completed": RunStatus.FINISHED, "stopped": RunStatus.KILLED, "failed": RunStatus.FAILED}
GRAVITY = (RunStatus.FINISHED, RunStatus.KILLED, RunStatus.FAILED)


@dataclass(frozen=True)
class NextRun:
    """What the next run is to be.

    Attributes:
        life: the number of the instance's life, from one ``initialize`` or reset to the next, that it belongs to.
        run_id: its id, if it is a new one; None to have the store make it up.
    """

    life: int
    run_id: str | None = None


def is_aside(row: Operation, event: ActivityEnded, running: int) -> bool:
    """Return whether what failed saves something while an activity is paused, which costs the run nothing."""
    return row.saves is not None and event.outcome == "failed" and running > 1


class Announcer:
    """See the module. Lives on the event loop.

    Args:
        kind: says which operations open a run.
        steering: where runs go unless ``initialize`` says something else.
        show: shows the run in the status; None where there is none.
        root: the path below which a reverse proxy serves the container.
    """

    def __init__(
        self, kind: Kind, steering: Steering, show: Callable[[dict[str, Any] | None], None], root: str = ""
    ) -> None:
        self._operations = kind.operations
        self._root = root
        self._default = steering
        self._show = show
        self._life = 0
        self._is_open = False
        self._written = asyncio.Event()
        self.begin_anew()

    def begin_anew(self, properties: Mapping[str, Any] | None = None) -> NextRun:
        """Begin another life of the instance, in which ``initialize`` says where the run goes, and return what its run is."""
        if self._is_open:
            # A run to go on with is one; the next run of this container is another.
            self._default = replace(self._default, run_id=None)
            self._show(None)
        steering = self._default if properties is None else self._default.overridden(properties)
        following = NextRun(self._life + 1, uuid4().hex)
        self._life, self._is_open = following.life, False
        self._description: dict[str, Any] = {"id": steering.run_id or following.run_id}
        if steering.run_id is None and steering.run_name is not None:
            self._description["name"] = steering.run_name
        self._running: set[str] = set()
        self._worst = RunStatus.FINISHED
        self._written.set()
        self._written = asyncio.Event()
        return following

    def run_id(self, operation: str) -> str | None:
        """Return the id of the run that there is, or that an operation opens; None for neither."""
        is_there = self._is_open or self._operations[operation].opens_run
        return str(self._description["id"]) if is_there else None

    def observe(self, event: Event) -> None:
        """Take an event, and show what follows from it."""
        if isinstance(event, ActivityBegan):
            if not self._running:
                self._worst = RunStatus.FINISHED
            self._running.add(event.operation)
            self._is_open = self._is_open or self._operations[event.operation].opens_run
            self._announce()
        elif isinstance(event, ActivityEnded) and event.operation in self._running:
            aside = is_aside(self._operations[event.operation], event, len(self._running))
            self._running.remove(event.operation)
            status = RunStatus.FINISHED if aside else OUTCOMES.get(event.outcome, RunStatus.FINISHED)
            self._worst = max(self._worst, status, key=GRAVITY.index)
            self._announce()

    def confirm(self, life: int, description: Mapping[str, Any]) -> None:
        """Take what the run is, now that it has been written; what concerns an earlier life is of no interest."""
        if life != self._life:
            return
        self._is_open = True
        self._description = dict(description)
        self._written.set()
        self._announce()

    async def written(self, seconds: float) -> None:
        """Wait until the run that is shown can be found in the store, but not longer than that."""
        if self._is_open and not self._written.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._written.wait()

    def _announce(self) -> None:
        if not self._is_open:
            return
        run_id = self._description["id"]
        status = RunStatus.RUNNING if self._running else self._worst
        link = f"{self._root}/api/2.0/mlflow/runs/get?run_id={run_id}"
        self._show({**self._description, "status": status.name, "link": link})
