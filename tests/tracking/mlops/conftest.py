"""Workspaces in stores, and a store that fails on demand."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from mistk_service.tracking import Store, open_store
from mistk_service.tracking.errors import InvalidParameter, StoreUnavailable
from mistk_service.tracking.mlops import Workspace
from mistk_service.tracking.values import Metric


class Unreliable:
    """A store whose writes to runs fail, before they are done or after it, for as many times as is said.

    Attributes:
        failures: what the next writes do: ``before``, ``after`` or ``pass``; those that come later pass.
        dislikes: says of a metric whether this store refuses it, which others would take.
        written: the names of the methods that were called, whatever came of it.
    """

    WRITES = ("create_run", "delete_run", "log_batch", "log_inputs", "update_run")

    def __init__(self, store: Store) -> None:
        self._store = store
        self.failures: list[str] = []
        self.dislikes: Callable[[Metric], bool] = lambda metric: False
        self.written: list[str] = []

    def __getattr__(self, name: str):
        method = getattr(self._store, name)
        return self._unreliable(name, method) if name in self.WRITES else method

    def _unreliable(self, name, method):
        def write(*arguments, **options):
            self.written.append(name)
            failure = self.failures.pop(0) if self.failures else "pass"
            if failure == "before":
                raise StoreUnavailable("The store is out of order.")
            if any(map(self.dislikes, options.get("metrics", ()))):
                raise InvalidParameter("There is a metric that this store does not like.")
            result = method(*arguments, **options)
            if failure == "after":
                raise StoreUnavailable("The answer was lost on the way.")
            return result

        return write


class Clock:
    """Milliseconds that go up by one whenever somebody looks."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000

    def __call__(self) -> int:
        self.now += 1
        return self.now


@pytest.fixture(params=["sqlite", "over http"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store: a database, or a tracking server over HTTP."""
    over_http = request.param == "over http"
    with open_store(
        request.getfixturevalue("served_store_uri") if over_http else f"sqlite:///{tmp_path}/store.db"
    ) as opened:
        yield opened


@pytest.fixture
def unreliable(store: Store) -> Unreliable:
    return Unreliable(store)


@pytest.fixture
def workspace(unreliable: Unreliable) -> Workspace:
    """A workspace in a store that works until it is told not to, without anything active."""
    return Workspace(cast(Store, unreliable), Clock())


@pytest.fixture
def project(workspace: Workspace) -> str:
    return workspace.create_project("Digits")["id"]


@pytest.fixture
def experiment(workspace: Workspace, project: str) -> str:
    return workspace.create_experiment("first", project_id=project)["id"]


@pytest.fixture
def iteration(workspace: Workspace, experiment: str):
    return workspace.start_iteration("one", experiment_id=experiment)
