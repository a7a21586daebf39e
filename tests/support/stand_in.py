"""A remote in this process, behind a network that can be made to fail at any call, before it or after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mistk_service.tracking.artifacts import ArtifactRepository, StoredFile, Upload
from mistk_service.tracking.artifacts.locations import Locations
from mistk_service.tracking.replication.metric_points import Point, point_of
from mistk_service.tracking.sql import SqlStore
from mistk_service.tracking.values import LoggedModel, Run

#: What the replicator never calls, or what reaches no network.
LOCAL = {"close", "capabilities", "uri"}


@dataclass(frozen=True)
class Abilities:
    """What the stand-in can do."""

    stores_repeats_once: bool = True


class StandIn:
    """A remote that is a store of this process.

    Attributes:
        store: what the remote has.
        calls: the name and the arguments of each call that reached it.
        received: how often each point was sent and taken, whatever the store made of it.
        before: called with the name of a call before it is applied; what it raises is what the network does.
        after: the same, after it was applied.
    """

    def __init__(self, store: SqlStore, artifacts: ArtifactRepository) -> None:
        self.store = store
        self.artifacts = artifacts
        self.capabilities = Abilities()
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.received: Counter[tuple[str, str, Point]] = Counter()
        self.before: Callable[[str], None] = lambda name: None
        self.after: Callable[[str], None] = lambda name: None

    def names(self) -> list[str]:
        """Return the names of the calls."""
        return [name for name, _ in self.calls]

    def run_artifacts(self, run: Run) -> ArtifactRepository:
        return RunFolder(self, Locations(self.store, self.artifacts).place(run.info.artifact_uri, ""))

    def model_artifacts(self, model: LoggedModel) -> ArtifactRepository:
        return RunFolder(self, Locations(self.store, self.artifacts).place(model.artifact_uri, ""))

    def close(self) -> None:
        pass

    def check(self) -> None:
        """Answer, if the network lets it; whoever counts calls means those that deliver something."""
        self.before("check")
        self.after("check")

    def call(self, name: str, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        self.before(name)
        self.calls.append((name, arguments))
        result = method(*arguments, **options)
        if name == "log_batch":
            self.received.update((arguments[0], metric.key, point_of(metric)) for metric in arguments[1])
        try:
            self.after(name)
        except BaseException:
            _let_go(result)
            raise
        return result

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.store, name)
        return lambda *arguments, **options: self.call(name, method, *arguments, **options)


def _let_go(result: Any) -> None:
    """Close the file of an answer that never arrives, as a server does whose client is gone."""
    if isinstance(result, Upload):
        result.abort()
    elif isinstance(result, StoredFile):
        result.stream.close()


class RunFolder(ArtifactRepository):
    """The artifacts of one run, or of one logged model, of the stand-in."""

    def __init__(self, remote: StandIn, root: str) -> None:
        self._remote = remote
        self._root = root

    @property
    def uri(self) -> str:
        return f"stand-in:{self._root}"

    def list_folder(self, path: str = "") -> Any:
        return self._remote.call("list_folder", self._remote.artifacts.list_folder, f"{self._root}/{path}")

    def open(self, path: str) -> Any:
        return self._remote.call("open", self._remote.artifacts.open, f"{self._root}/{path}")

    def create(self, path: str) -> Any:
        return self._remote.call("create", self._remote.artifacts.create, f"{self._root}/{path}")

    def delete(self, path: str) -> None:
        self._remote.call("delete", self._remote.artifacts.delete, f"{self._root}/{path}")
