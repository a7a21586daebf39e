"""The reports of a model, and where they are stored."""

from __future__ import annotations

import math

import pytest

from mistk_service.core.events import PredictionAnswered
from mistk_service.recording.lifecycle import StreamTotals
from tests.recording.conftest import Story, params_of, tags_of


def test_the_first_report_opens_the_run(story: Story) -> None:
    story.initialize({"mlflow.runName": "mine"}, epochs=3).began("buildModel", None).params(hidden=64)
    story.metrics(("size", 1.0, None, 1))
    assert story.statuses == ["RUNNING"]

    story.ended("buildModel")

    assert story.statuses == ["FINISHED"]
    assert story.run.info.run_name == "mine"
    assert params_of(story.run) == {"epochs": "3", "hidden": "64"}


def test_params_and_tags_of_a_model_that_is_made_ready_wait_for_the_run(story: Story) -> None:
    story.params(early=1).initialize({}, epochs=3).began("buildModel", None).params(hidden=64).tags(kind="mlp")
    story.ended("buildModel")
    assert story.runs == []

    story.began("train")

    assert story.statuses == ["RUNNING"]
    assert params_of(story.run) == {"early": "1", "epochs": "3", "hidden": "64"}
    assert tags_of(story.run)["kind"] == "mlp"


def test_params_that_no_run_came_for_get_one_at_the_end(story: Story) -> None:
    story.initialize().began("buildModel", None).params(hidden=64).ended("buildModel").close()

    assert (params_of(story.run), story.statuses) == ({"hidden": "64"}, ["FINISHED"])


def test_a_report_while_nothing_runs_leaves_the_run_ended(story: Story) -> None:
    story.initialize().metrics(("loss", 1.0, 1, 1))

    assert story.statuses == ["FINISHED"]


def test_what_is_reported_before_initialize_waits_for_it(story: Story) -> None:
    story.params(weights=12).tags(mood="good").metrics(("loss", 1.0, 1, 1))
    assert story.runs == []

    story.began("initialize", ["training"], {"mlflow.runName": "mine"}, {"epochs": 3})

    assert story.run.info.run_name == "mine"
    assert params_of(story.run) == {"epochs": "3", "weights": "12"}
    assert tags_of(story.run)["mood"] == "good"
    assert story.points(story.run, "loss") == [(1.0, 1)]


@pytest.mark.parametrize("end", [Story.reset, Story.close])
def test_what_is_reported_and_never_initialized_is_not_lost(story: Story, end) -> None:
    end(story.metrics(("loss", 1.0, 1, 1)))

    assert story.points(story.run, "loss") == [(1.0, 1)]
    assert story.statuses == ["FINISHED"]


def test_many_reports_before_initialize_do_not_fill_the_memory(story: Story) -> None:
    story.metrics(*(("loss", float(step), step, step) for step in range(10_001)))

    assert len(story.points(story.run, "loss")) == 10_001


def test_more_than_a_batch_arrives_whole(story: Story) -> None:
    points = [(f"metric {number % 7}", number / 7, number, number) for number in range(2_345)]
    story.initialize({}, **{f"p{number}": number for number in range(250)}).began("train").metrics(*points)
    story.tags(**{f"t{number}": number for number in range(150)})

    assert sum(len(story.points(story.run, f"metric {number}")) for number in range(7)) == 2_345
    assert len(params_of(story.run)) == 250
    assert {f"t{number}" for number in range(150)} <= tags_of(story.run).keys()


def test_nan_and_infinities_are_kept(story: Story) -> None:
    story.initialize().metrics(("m", math.nan, 1, 1), ("m", math.inf, 2, 2), ("m", -math.inf, 3, 3))

    (nan, one), *rest = story.points(story.run, "m")
    assert math.isnan(nan)
    assert one == 1
    assert rest == [(math.inf, 2), (-math.inf, 3)]


def test_what_the_store_cannot_take_keeps_nothing_else_back(story: Story) -> None:
    points = [("loss", 1.0, 1, 1), ("loss", 2.0, 2, -5), ("loss", 3.0, 3, 3), ("loss", 4.0, 4, -1)]
    story.initialize().began("train").metrics(*points)

    assert story.points(story.run, "loss") == [(1.0, 1), (3.0, 3)]
    assert len(story.notes) == 2
    assert "timestamp" in story.notes[0]


def test_keys_that_the_store_does_not_take_are_respelled_and_kept_apart(story: Story) -> None:
    story.initialize({"löß%": 1}, **{"a[0]": 1, "a(0)": 2, "../x": 3, "": 4, "y//z": 5}).began("train")

    assert params_of(story.run) == {"a_0_": "1", "a_0__2": "2", "__/x": "3", "_": "4", "y/z": "5"}
    assert tags_of(story.run)["mistk.property.löß_"] == "1"
    assert story.notes == []


def test_a_param_keeps_its_first_value_and_the_other_is_not_lost(story: Story) -> None:
    story.initialize({}, epochs=3, rate=1).began("train").params(epochs=4, rate=1.0)

    assert params_of(story.run) == {"epochs": "3", "rate": "1"}
    assert tags_of(story.run)["mistk.param.epochs"] == "4"
    assert "mistk.param.rate" not in tags_of(story.run)
    assert len(story.notes) == 1


def test_a_value_that_no_database_holds_is_made_one_that_it_holds(story: Story) -> None:
    story.initialize({}, text="nul \0 and \ud800", long="x" * 10_000).began("train")

    assert params_of(story.run)["text"] == "nul \\0 and \\ud800"
    assert params_of(story.run)["long"] == "x" * 6_000


def test_of_a_huge_value_the_beginning_is_kept_and_the_notes_stay_short(story: Story) -> None:
    story.initialize({}, long="x" * 1_000_000).began("train")
    story.params(long="x" * 1_000_000).tags(huge="é" * 1_000_000).params(long="y" * 1_000_000)

    assert params_of(story.run)["long"] == "x" * 6_000
    assert tags_of(story.run)["huge"] == "é" * 8_000
    assert tags_of(story.run)["mistk.param.long"] == "y" * 6_000
    assert "The param long has 1000000 characters; the first 6000 are stored." in story.notes
    assert any("is stored as the tag mistk.param.long" in note for note in story.notes)
    assert max(map(len, story.notes)) < 300


def test_the_model_may_name_the_run(story: Story) -> None:
    story.initialize().began("train").tell().tags(**{"mlflow.runName": "renamed"})

    assert story.run.info.run_name == "renamed"


def test_stream_predictions_come_as_totals_once_there_is_a_run(story: Story) -> None:
    totals = StreamTotals().plus(PredictionAnswered(3, 0.5, True)).plus(PredictionAnswered(1, 0.25, False))
    story.initialize().tell(totals)
    assert story.runs == []

    story.did("predict").tell(totals, totals)

    for key, value in {"count": 2, "records": 4, "failed": 1, "seconds": 0.75}.items():
        assert story.points(story.run, f"mistk/stream_predict_{key}") == [(value, 1)]
