"""A local store, a fake remote, and a fake clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.replication import Backoff
from mistk_service.tracking.replication.replicator import Replicator
from mistk_service.tracking.sql import SqlStore
from tests.support.copies import content, copies
from tests.support.stand_in import StandIn

NAME = "http://remote"


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class World:
    """A local store and remotes, and a replicator for the first of them.

    Attributes:
        local: the local store.
        artifacts: the local artifacts.
        remote: the remote.
        clock: the replication' time.
        replicator: the replicator; :meth:`restart` makes another.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stores = ExitStack()
        self.local = self._stores.enter_context(SqlStore.open("sqlite://"))
        self.artifacts = open_artifacts(folder / "local")
        self.clock = Clock()
        self.remote = self.another_remote("remote")
        self.local.journal.configure([NAME])
        self.experiment = self.local.create_experiment("an experiment")
        self.restart()

    def another_remote(self, name: str) -> StandIn:
        store = self._stores.enter_context(SqlStore.open("sqlite://"))
        return StandIn(store, open_artifacts(self._folder / name))

    def close(self) -> None:
        """Close the stores, those of former remotes too."""
        self._stores.close()

    def restart(self) -> None:
        """Forget what only a process knows."""
        self.replicator = self.forward_to(NAME, self.remote)

    def forward_to(self, name: str, remote: Any) -> Replicator:
        return Replicator(
            self.local, self.artifacts, name, lambda: remote,
            clock=self.clock, wall_clock=self.clock, backoff=Backoff(lambda: 1.0),
        )  # fmt: skip

    def deliver(self) -> None:
        """Deliver all there is; nothing may go wrong."""
        while self.replicator.step():
            pass
        state = self.replicator.state()
        assert (state.depth, state.last_error) == (0, None)

    def run(self, **options) -> str:
        return self.local.create_run(self.experiment, **options).info.run_id

    def put(self, run_id: str, path: str, data: bytes) -> None:
        """Put a file into a run's artifacts."""
        upload = self.artifacts.create(f"{self.experiment}/{run_id}/artifacts/{path}")
        upload.write(data)
        upload.commit()
        self.local.artifact_logged(run_id, path)

    def copy(self, run_id: str) -> str:
        """Return the remote's id of a run."""
        return copies(self.remote.store)[run_id]

    def assert_same(self, *run_ids: str, without: frozenset[str] = frozenset()) -> None:
        """Fail where the remote has something else than the local store."""
        for run_id in run_ids:
            local = content(self.local, run_id, without=without)
            assert content(self.remote.store, self.copy(run_id), without=without) == local


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()
