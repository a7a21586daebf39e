"""The preview of the run in the status, before the store has it."""

from __future__ import annotations

from typing import Any

import pytest

from mistk_service.core.events import ActivityBegan, ActivityEnded
from mistk_service.kinds.model import MODEL
from mistk_service.recording.run_options import RunOptions
from mistk_service.recording.run_preview import RunPreview


class Board:
    """An preview and what it shows."""

    def __init__(self, **run_options: str) -> None:
        self.shown: dict[str, Any] | None = None
        self.preview = RunPreview(MODEL, RunOptions(**run_options), self._show)

    def _show(self, run: dict[str, Any] | None) -> None:
        self.shown = run

    def began(self, operation: str) -> Board:
        self.preview.observe(ActivityBegan(operation))
        return self

    def ended(self, operation: str, outcome: str = "completed") -> Board:
        self.preview.observe(ActivityEnded(operation, outcome, 1.0))
        return self

    @property
    def status(self) -> str | None:
        return None if self.shown is None else self.shown["status"]


def test_the_run_is_there_with_the_operation_that_opens_it_and_stands_as_that_ends() -> None:
    board = Board()
    planned = board.preview.restart({})
    assert board.began("initialize").ended("initialize").shown is None

    board.began("train")

    assert board.shown is not None
    assert (board.shown["id"], board.status) == (planned.run_id, "RUNNING")
    assert board.began("saveModel").ended("saveModel").status == "RUNNING"
    assert board.ended("train").status == "FINISHED"
    assert board.began("predict").ended("predict", "failed").status == "FAILED"


def test_the_run_of_the_next_life_is_another() -> None:
    board = Board(run_id="to go on with")
    board.began("train").ended("train", "stopped")
    assert board.shown is not None
    assert (board.shown["id"], board.status) == ("to go on with", "KILLED")

    planned = board.preview.restart()

    assert board.shown is None
    assert board.began("train").shown is not None
    assert board.shown["id"] == planned.run_id


def test_what_the_store_says_is_added_and_of_an_earlier_life_it_is_passed_over() -> None:
    board = Board()
    first = board.preview.restart()
    second = board.preview.restart()
    board.began("train")

    board.preview.confirm(first.life, {"id": "of the first", "name": "old", "experimentId": "1"})
    assert board.shown is not None
    assert board.shown["id"] == second.run_id

    board.preview.confirm(second.life, {"id": "in its place", "name": "new", "experimentId": "2"})
    assert (board.shown["id"], board.shown["name"], board.status) == ("in its place", "new", "RUNNING")


@pytest.mark.parametrize(("operation", "is_there"), [("buildModel", False), ("train", True), ("saveModel", True)])
def test_a_model_learns_its_run_with_the_operation_that_opens_it(operation: str, *, is_there: bool) -> None:
    board = Board()

    assert (board.preview.run_id(operation, ()) is not None) == is_there
    run_id = board.began("train").preview.run_id("buildModel", ())
    assert run_id is not None
