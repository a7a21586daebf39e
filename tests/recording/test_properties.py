"""Property tests of recording: no run stays running, and every reported point is stored once."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from mistk_service.tracking import open_store
from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.embedded.local_tracking import OpenedTracking
from mistk_service.tracking.errors import StoreUnavailable
from mistk_service.tracking.values import RunStatus
from tests.recording.conftest import FAILURE, Story, tags_of
from tests.support.examples import examples

ACTIVITIES = ("loadData", "buildModel", "train", "predict", "generate", "saveModel", "savePredictions")
OUTCOMES = ("completed", "stopped", "failed", "refused", "unsupported")
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.sampled_from(ACTIVITIES)),
        st.tuples(st.just("end"), st.sampled_from(OUTCOMES)),
        st.tuples(st.just("points"), st.integers(1, 5)),
        st.tuples(st.just("params"), st.sampled_from("abc")),
        st.tuples(st.just("tags"), st.sampled_from("abc")),
        st.tuples(st.just("reset"), st.none()),
        st.tuples(st.just("initialize"), st.sampled_from(OUTCOMES)),
    ),
    max_size=40,
)


class Container:
    """Does to a story what a controller would do, and nothing that it would not.

    Attributes:
        reported: the steps of all points that were reported.
    """

    def __init__(self, story: Story, folder: Path) -> None:
        self.story = story
        self.folder = folder
        self.initialized = False
        self.failed = False
        self.running: list[str] = []
        self.reported: list[int] = []

    def do(self, action: str, argument: object) -> None:
        getattr(self, f"_{action}")(argument)

    def _initialize(self, outcome: str) -> None:
        if not self.initialized and not self.failed:
            self.story.began("initialize", [], {}, {"epochs": 1})
            self.running = ["initialize"]
            self._end(outcome)
            self.initialized = outcome == "completed"

    def _begin(self, operation: str) -> None:
        beside = self.running == ["train"] and operation == "saveModel"
        if self.initialized and not self.failed and (not self.running or beside):
            self.running.append(operation)
            argument = {} if operation == "loadData" else str(self.folder)
            self.story.began(operation, *((argument,) if operation.startswith(("load", "save", "build")) else ()))

    def _end(self, outcome: str) -> None:
        if not self.running:
            return
        if outcome == "failed":
            self.failed = True
            while self.running:
                self.story.ended(self.running.pop(), "failed", FAILURE)
        else:
            self.story.ended(self.running.pop(), outcome)

    def _points(self, count: int) -> None:
        steps = range(len(self.reported), len(self.reported) + count)
        self.reported += steps
        self.story.metrics(*(("loss", step / 3, step, step) for step in steps))

    def _params(self, key: str) -> None:
        self.story.params(**{key: len(self.reported)})

    def _tags(self, key: str) -> None:
        self.story.tags(**{key: len(self.reported)})

    def _reset(self, _: None) -> None:
        while self.running:
            self.story.ended(self.running.pop(), "stopped")
        self.story.reset()
        self.initialized = self.failed = False


def all_points(story: Story) -> Counter[int]:
    return Counter(step for run in story.runs for _, step in story.points(run, "loss"))


@settings(max_examples=examples(30), deadline=None)
@given(ACTIONS)
def test_no_run_outlives_what_runs_and_every_point_is_there_once(actions: list[tuple[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as folder, open_store("sqlite://") as store:
        (Path(folder) / "saved").mkdir()
        story = Story(OpenedTracking(store, open_artifacts(Path(folder) / "artifacts")), Path(folder))
        container = Container(story, Path(folder) / "saved")
        for action, argument in actions:
            container.do(action, argument)
            running = [run for run in story.runs if run.info.status is RunStatus.RUNNING]
            assert len(running) <= bool(container.running)
            if container.running and story.lifecycle.run is not None:
                assert [run.info.run_id for run in running] == [story.lifecycle.run.id]
        story.close()

        assert "RUNNING" not in story.statuses
        assert all_points(story) == Counter(container.reported)
        assert story.notes == [] or all("mistk.param" in note for note in story.notes)
        for run in story.runs:
            assert ("mistk.failure" in tags_of(run)) == (run.info.status is RunStatus.FAILED)


class Flaky:
    """A store of which some calls find it unavailable, as the numbers say, over and over."""

    def __init__(self, store: object, pattern: list[bool]) -> None:
        self._store = store
        self._pattern = pattern
        self._calls = 0

    def __getattr__(self, name: str) -> object:
        found = getattr(self._store, name)
        if not callable(found):
            return found

        def call(*args: object, **kwargs: object) -> object:
            self._calls += 1
            if self._pattern and self._pattern[self._calls % len(self._pattern)]:
                raise StoreUnavailable("The disk is full.")
            return found(*args, **kwargs)

        return call


@settings(max_examples=examples(20), deadline=None)
@given(ACTIONS, st.lists(st.booleans(), min_size=1, max_size=8).filter(lambda pattern: not all(pattern)))
def test_a_store_that_is_away_now_and_then_loses_and_doubles_nothing(
    actions: list[tuple[str, object]], pattern: list[bool]
) -> None:
    with tempfile.TemporaryDirectory() as folder, open_store("sqlite://") as store:
        (Path(folder) / "saved").mkdir()
        opened = OpenedTracking(Flaky(store, pattern), open_artifacts(Path(folder) / "artifacts"))  # type: ignore[arg-type]
        story = Story(opened, Path(folder))
        story.attempts = 1_000_000
        container = Container(story, Path(folder) / "saved")
        for action, argument in actions:
            container.do(action, argument)
        story.close()
        story.store = store

        assert "RUNNING" not in story.statuses
        assert all_points(story) == Counter(container.reported)
        assert story.obstacles[-1:] in ([], [None])
