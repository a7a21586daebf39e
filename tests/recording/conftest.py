"""A lifecycle that receives its events from the test, with a store in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mistk_service.core.events import (
    ActivityBegan,
    ActivityEnded,
    ArtifactLogged,
    InstanceReset,
    MetricsReported,
    ParamsReported,
    TagsSet,
)
from mistk_service.errors import Failure
from mistk_service.kinds import Kind
from mistk_service.kinds.model import MODEL, load_data
from mistk_service.recording import RecorderOptions, RunOptions
from mistk_service.recording.file_queue import FileQueue
from mistk_service.recording.lifecycle import Lifecycle
from mistk_service.recording.open_run import OpenRun
from mistk_service.recording.retry import StoreRetry
from mistk_service.recording.run_manager import RunManager
from mistk_service.tracking import Store, open_store
from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.embedded.local_tracking import OpenedTracking
from mistk_service.tracking.values import Run
from mistk_service.workers.host.files import contents_of
from tests.recording.harness import CONTAINER, RecorderHarness

FAILURE = Failure("ValueError", "a number is missing", "Traceback ...\n  line 3\nValueError: a number is missing")


class Story:
    """Tells a lifecycle what happens, and reads what became of it.

    Attributes:
        store: where it goes.
        notes: what could not be done as it was asked.
        shown: how the run stood whenever it was shown.
    """

    def __init__(
        self,
        opened: OpenedTracking,
        folder: Path,
        run_options: RunOptions = RunOptions(),  # noqa: B008
        kind: Kind = MODEL,
    ) -> None:
        self.store: Store = opened.store
        self.artifacts = opened.artifacts
        self.folder = folder
        self.notes: list[str] = []
        self.obstacles: list[str | None] = []
        self.shown: list[str] = []
        self.now = 1_000
        #: Whether what lies in a folder when something is saved to it is looked at; else nothing lay there.
        self.looks = False
        #: How often a call may be repeated while the store is not to be had.
        self.attempts = 100
        options = RecorderOptions(
            kind,
            CONTAINER,
            "Digits",
            "digits.model:Digits",
            folder / "state",
            lambda: "1.0",
            run_options,
            artifact_locations=(folder.as_uri(), "nonsense://bucket"),
        )
        retry = StoreRetry(self._wait, self.obstacles.append)
        #: Does its work whenever something has happened.
        self.queue = FileQueue(self.obstacles.append, delays=())
        manager = RunManager(opened, options, retry, self.queue, self.notes.append)
        self.lifecycle = Lifecycle(kind, manager, run_options, self._show)

    def _wait(self, _: float) -> bool:
        self.attempts -= 1
        return self.attempts > 0

    def _show(self, run: OpenRun, _: int) -> None:
        self.shown.append(run.info.status.name)

    # --- what happens ---------------------------------------------------------------------------------------------

    def tell(self, *events: Any) -> Story:
        """Tell events, a second apart."""
        for event in events:
            self.now += 1000
            self.lifecycle.take(event, self.now)
            self.queue.work()
        return self

    def initialize(self, properties: dict[str, Any] | None = None, **hyperparameters: Any) -> Story:
        """Initialize, to the end."""
        return self.did("initialize", ["training"], properties or {}, hyperparameters)

    def did(self, operation: str, *arguments: Any, outcome: str = "completed") -> Story:
        """Begin and end an operation."""
        return self.began(operation, *arguments).ended(operation, outcome)

    def began(self, operation: str, *arguments: Any) -> Story:
        """Begin an operation."""
        # What the service does before it lets a model save.
        before = contents_of(arguments[0]) if operation.startswith("save") and self.looks else {}
        if operation == "loadData":
            arguments = load_data(*arguments).arguments
        return self.tell(ActivityBegan(operation, arguments, before=before))

    def ended(self, operation: str, outcome: str = "completed", failure: Failure | None = None) -> Story:
        """End an operation."""
        return self.tell(ActivityEnded(operation, outcome, 1.5, failure))

    def metrics(self, *points: tuple[str, float, int | None, int]) -> Story:
        """Report points."""
        return self.tell(MetricsReported(points))

    def params(self, **values: Any) -> Story:
        """Report params."""
        return self.tell(ParamsReported(values))

    def tags(self, **values: Any) -> Story:
        """Report tags."""
        return self.tell(TagsSet(values))

    def artifact(self, path: Path, folder: str | None = None, kept: str | None = None) -> Story:
        """Report an artifact."""
        return self.tell(ArtifactLogged(str(path), folder, kept))

    def reset(self) -> Story:
        """Reset."""
        return self.tell(InstanceReset())

    def close(self) -> Story:
        """End the service."""
        self.now += 1000
        self.lifecycle.close(self.now)
        self.queue.work()
        return self

    # --- what became of it ----------------------------------------------------------------------------------------

    @property
    def runs(self) -> list[Run]:
        """All runs, the oldest first."""
        experiments = [experiment.experiment_id for experiment in self.store.search_experiments()]
        found = self.store.search_runs(experiments, order_by=["attributes.start_time ASC"])
        return [self.store.get_run(run.info.run_id) for run in found]

    @property
    def run(self) -> Run:
        """The one run that there is."""
        (run,) = self.runs
        return run

    @property
    def statuses(self) -> list[str]:
        """How the runs stand."""
        return [run.info.status.name for run in self.runs]

    def points(self, run: Run, key: str) -> list[tuple[float, int]]:
        """The points of a metric, value and step."""
        return [(point.value, point.step) for point in self.store.get_metric_history(run.info.run_id, key)]

    def files(self, run: Run, folder: str = "") -> dict[str, str]:
        """The texts of the run's artifacts, by path, but for those of ``MLmodel``, which every saved model has."""
        root = run.info.artifact_uri.removeprefix("mlflow-artifacts:/")
        found: dict[str, str] = {}
        for info in self.artifacts.list_folder(f"{root}/{folder}" if folder else root):
            path = f"{folder}/{info.path}" if folder else info.path
            if info.is_dir:
                found |= self.files(run, path)
            elif info.path != "MLmodel":
                with self.artifacts.open(f"{root}/{path}") as stored:
                    found[path] = stored.stream.read().decode()
        return found


def story_in(folder: Path, kind: Kind = MODEL) -> Story:
    """Return a recorder of runs with a store of its own."""
    folder.mkdir()
    return Story(OpenedTracking(open_store("sqlite://"), open_artifacts(folder / "artifacts")), folder, kind=kind)


def outcome_of(story: Story) -> list[tuple[Any, ...]]:
    """Return what the runs say, without their ids and random names."""
    return [
        (
            run.info.status,
            {param.key: param.value for param in run.data.params},
            {tag.key: tag.value for tag in run.data.tags if tag.key not in ("mistk.replacesRunId", "mlflow.runName")},
            {metric.key: (metric.value, metric.step) for metric in run.data.metrics},
            story.files(run),
        )
        for run in story.runs
    ]


def tags_of(run: Run) -> dict[str, str]:
    """The tags of a run."""
    return {tag.key: tag.value for tag in run.data.tags}


def params_of(run: Run) -> dict[str, str]:
    """The params of a run."""
    return {param.key: param.value for param in run.data.params}


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[OpenedTracking]:
    """An empty store in memory, with artifacts in a folder."""
    with open_store("sqlite://") as store:
        yield OpenedTracking(store, open_artifacts(tmp_path / "artifacts"))


@pytest.fixture
def tell(opened: OpenedTracking, tmp_path: Path) -> Callable[..., Story]:
    """Begins a story, with fields of the run_options that the environment would give."""
    return lambda **run_options: Story(opened, tmp_path, RunOptions(**run_options))


@pytest.fixture
def story(tell: Callable[..., Story]) -> Story:
    """A story that nobody steers."""
    return tell()


@pytest.fixture
async def harness(tmp_path: Path, anyio_backend: str) -> AsyncIterator[RecorderHarness]:
    harness = RecorderHarness(tmp_path)
    yield harness
    await harness.close(0.0)
    await harness.ended()  # what it still has to say belongs to this test
    harness.store.close()


@pytest.fixture
def locked(harness: RecorderHarness) -> Iterator[sqlite3.Connection]:
    """Another process that has locked the database."""
    connection = sqlite3.connect(harness.folder / "store.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    yield connection
    connection.close()
