"""The workspace of this process, and its methods as functions."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Callable
from functools import update_wrapper
from inspect import signature
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from mistk_service.tracking.errors import InvalidParameter, InvalidState
from mistk_service.tracking.mlops.workspace import Workspace
from mistk_service.tracking.opening import open_store
from mistk_service.tracking.store._store import Store

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)


class _Process:
    """The workspace that the functions use. It closes the store if it has opened it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workspace: Workspace | None = None
        self._owned: Store | None = None

    def workspace(self) -> Workspace:
        with self._lock:
            if self._workspace is None:
                self._begin(open_store(_default_uri()), owned=True)
            assert self._workspace is not None
            return self._workspace

    def use(self, store: Store | str) -> None:
        with self._lock:
            waiting = self._workspace.open_iterations if self._workspace else []
            if waiting:
                names = ", ".join(sorted(repr(iteration["name"]) for iteration in waiting))
                raise InvalidState(
                    f"These iterations have not ended and still need the current store: {names}. "
                    "Call their end_iteration() first, or delete all references to them."
                )
            opened = store if isinstance(store, Store) else open_store(store)
            self._end()
            self._begin(opened, owned=opened is not store)

    def leave(self) -> None:
        """See :func:`leave`."""
        with self._lock:
            for iteration in self._workspace.open_iterations if self._workspace else []:
                logger.warning("%r was not ended. Its data is lost.", iteration)
            self._end()

    def _begin(self, store: Store, *, owned: bool) -> None:
        self._workspace = Workspace(store)
        if owned:
            self._owned = store
        # Registered once, however often the store changes, and not before there is anything to close.
        atexit.unregister(self.leave)
        atexit.register(self.leave)

    def _end(self) -> None:
        self._workspace = None
        owned, self._owned = self._owned, None
        if owned is not None:
            owned.close()


_process = _Process()


def _default_uri() -> str:
    """Return the store of ``MLFLOW_TRACKING_URI``, or of a container that is started in this folder."""
    state = Path(os.environ.get("MISTK_STATE_DIR") or "mistk-state").absolute()
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{state / 'tracking.db'}"


def use(store: Store | str) -> None:
    """Choose the store of this process. No project or experiment is active at first.

    Without this call, the first call of another function opens the store of ``MLFLOW_TRACKING_URI``. If that is not set, it
    opens the one in the state directory (``MISTK_STATE_DIR``, by default ``mistk-state``), which a container uses.

    Args:
        store: a URI as for ``open_store``, or an open store, which the caller closes.

    Raises:
        InvalidState: iterations that need the current store have not ended.
        StoreError: the store cannot be opened. The current one stays in use.
    """
    if not isinstance(store, Store | str):
        raise InvalidParameter(
            f"{store!r} is not a store. Pass a URI such as 'sqlite:///runs.db', or a store that open_store returned.",
            field="store",
        )
    _process.use(store)


def leave() -> None:
    """Close the store of this process, and log a warning for each iteration that has not ended, whose data is lost.

    This happens at the end of the process. After it, the first call of another function chooses a store anew.
    """
    _process.leave()


def _of_process(method: Callable[Concatenate[Workspace, P], T]) -> Callable[P, T]:
    """Return a method of a workspace as a function that works on the one of this process."""
    _, *parameters = signature(method).parameters.values()
    own = signature(method).replace(parameters=parameters)

    def function(*args: P.args, **kwargs: P.kwargs) -> T:
        own.bind(*args, **kwargs)  # before a store is opened
        return method(_process.workspace(), *args, **kwargs)

    update_wrapper(function, method)
    # It is a function of this module, also for pickle, which another process imports.
    del function.__wrapped__  # type: ignore[attr-defined]
    function.__module__, function.__qualname__ = __name__, method.__name__
    function.__signature__ = own  # type: ignore[attr-defined]  # for help()
    return function


create_project = _of_process(Workspace.create_project)
get_project = _of_process(Workspace.get_project)
create_experiment = _of_process(Workspace.create_experiment)
get_experiment = _of_process(Workspace.get_experiment)
create_dataset = _of_process(Workspace.create_dataset)
start_iteration = _of_process(Workspace.start_iteration)
set_active_project = _of_process(Workspace.set_active_project)
set_active_experiment = _of_process(Workspace.set_active_experiment)
