"""What the payload of the status shows."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from mistk_service.core.status_payload import Activity, Reports
from mistk_service.errors import Failure
from mistk_service.workers.messages import Progressed, Reported


@pytest.fixture
def reports() -> Reports:
    return Reports()


def metrics(*points: tuple[str, float, int | None, int]) -> Reported:
    return Reported(metrics=points)


def test_at_first_there_is_nothing_but_what_is_possible(reports: Reports):
    assert reports.payload(None, ("initialize",)) == {"possible": ["initialize"]}


def test_an_activity_is_shown_with_its_begin_in_utc(reports: Reports):
    activity = Activity(1, "train")
    shown = reports.payload(activity, ())["activity"]
    assert shown == {"operation": "train", "startedAt": activity.started_at}
    assert activity.started_at.endswith("Z")


def test_of_a_metric_the_last_value_is_shown(reports: Reports):
    reports.reported(metrics(("loss", 2.0, 0, 10), ("loss", 1.0, 1, 20), ("other", 5.0, None, 30)))
    assert reports.payload(None, ())["metrics"] == {
        "loss": {"value": 1.0, "step": 1, "timestamp": 20, "min": 1.0, "max": 2.0},
        "other": {"value": 5.0, "step": None, "timestamp": 30, "min": 5.0, "max": 5.0},
    }


def test_the_range_of_a_metric_is_that_of_all_finite_values_of_one_training(reports: Reports):
    values = [3.0, math.nan, 9.0, math.inf, 4.0]
    reports.reported(metrics(*(("loss", value, step, step) for step, value in enumerate(values))))
    shown = reports.payload(None, ())["metrics"]["loss"]
    assert (shown["min"], shown["max"]) == (3.0, 9.0)
    reports.reported(metrics(("loss", 1.0, 0, 10), ("loss", 2.0, 1, 11)))
    shown = reports.payload(None, ())["metrics"]["loss"]
    assert (shown["min"], shown["max"]) == (1.0, 2.0)


def test_a_metric_without_a_finite_value_has_no_range(reports: Reports):
    reports.reported(metrics(("loss", math.nan, 0, 1)))
    assert reports.payload(None, ())["metrics"]["loss"] == {"value": "NaN", "step": 0, "timestamp": 1}


@pytest.mark.parametrize(("value", "shown"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")])
def test_numbers_that_json_does_not_have_are_shown_by_name(reports: Reports, value: float, shown: str):
    reports.reported(metrics(("m", value, None, 0)))
    assert reports.payload(None, ())["metrics"]["m"]["value"] == shown


def test_params_and_tags_accumulate_and_the_latest_wins(reports: Reports):
    reports.reported(Reported(params={"a": 1, "b": 2}, tags={"t": "x"}))
    reports.reported(Reported(params={"b": 3}, tags={"t": "y"}))
    payload = reports.payload(None, ())
    assert payload["params"] == {"a": 1, "b": 3}
    assert payload["tags"] == {"t": "y"}


def test_of_very_many_metrics_params_and_tags_the_first_thousand_are_shown_and_the_rest_counted(reports: Reports):
    names = [f"n{n}" for n in range(1500)]
    reports.reported(metrics(*((name, 1.0, 0, 0) for name in names)))
    reports.reported(Reported(params=dict.fromkeys(names[:1001], "p"), tags=dict.fromkeys(names[:1000], "t")))
    reports.reported(metrics(("n0", 2.0, 1, 1), ("n1499", 2.0, 1, 1)))
    payload = reports.payload(None, ())
    assert [list(payload[kind]) for kind in ("metrics", "params", "tags")] == [names[:1000]] * 3
    assert payload["metrics"]["n0"]["value"] == 2.0
    assert payload["notShown"] == {"metrics": 500, "params": 1}


def test_a_very_long_error_is_shown_with_its_beginning_and_its_end(reports: Reports):
    reports.failed(
        "train", Failure("ValueError", "begin" + "x" * 5_000_000 + "end", "Trace" + "y" * 5_000_000 + "last")
    )
    error = reports.payload(None, ())["error"]
    for text, first, last in ((error["message"], "begin", "end"), (error["traceback"], "Trace", "last")):
        assert text.startswith(first)
        assert text.endswith(last)
        assert "characters are left out here" in text
        assert len(text) < 70_000
    assert Failure("E", "x" * 8000).message == "x" * 8000


def test_of_many_artifacts_the_newest_hundred_are_shown(reports: Reports):
    for n in range(250):
        reports.reported(Reported(artifacts=((f"/f{n}", None, None),)))
    shown = reports.payload(None, ())["artifacts"]
    assert [artifact["path"] for artifact in shown] == [f"/f{n}" for n in range(150, 250)]


def test_a_payload_does_not_change_after_it_was_given(reports: Reports):
    reports.reported(Reported(metrics=(("m", 1.0, 0, 0),), params={"a": 1}, artifacts=(("/a", None, None),)))
    reports.updated({"mine": 1})
    before = reports.payload(None, ())
    frozen = msgspec.json.encode(before)
    reports.reported(Reported(metrics=(("m", 2.0, 1, 1),), params={"b": 1}, artifacts=(("/b", None, None),)))
    reports.updated({"mine": 2})
    assert msgspec.json.encode(before) == frozen


def test_progress_belongs_to_its_activity(reports: Reports):
    activity = Activity(1, "train")
    reports.began(nested=False)
    reports.progressed(Progressed(1, 4, "epochs", 0.50049, 6.0))
    assert reports.payload(activity, ())["progress"] == {
        "done": 1,
        "total": 4,
        "unit": "epochs",
        "rate": 0.5,
        "timeLeft": 6.0,
    }
    assert "progress" not in reports.payload(None, ())
    reports.ended(activity, "completed")
    reports.began(nested=False)
    assert "progress" not in reports.payload(Activity(2, "train"), ())


def test_what_runs_at_a_pause_has_its_own_progress_and_then_the_paused_one_is_shown_again(reports: Reports):
    training, saving = Activity(1, "train"), Activity(2, "saveModel")
    reports.began(nested=False)
    reports.progressed(Progressed(3, 9, "epochs", None, None))
    reports.began(nested=True)
    assert "progress" not in reports.payload(saving, ())
    reports.progressed(Progressed(1, 2, "files", None, None))
    assert reports.payload(saving, ())["progress"]["unit"] == "files"
    reports.ended(saving, "completed")
    assert reports.payload(training, ())["progress"]["done"] == 3


def test_the_last_activity_is_shown_with_its_outcome(reports: Reports):
    activity = Activity(1, "train")
    reports.ended(activity, "unsupported")
    last = reports.payload(None, ())["lastActivity"]
    assert (last["operation"], last["outcome"], last["startedAt"]) == ("train", "unsupported", activity.started_at)
    assert last["seconds"] >= 0


@pytest.mark.parametrize("output", [(), ("a line", "another")])
def test_a_failure_is_shown_with_all_that_is_known(reports: Reports, output: tuple[str, ...]):
    reports.failed("train", Failure("ValueError", "no", "a traceback", output))
    payload = reports.payload(None, ())
    assert payload["operation"] == "train"
    error: dict[str, Any] = {"type": "ValueError", "message": "no", "traceback": "a traceback"}
    assert payload["error"] == error | ({"output": list(output)} if output else {})


def test_what_the_model_gave_stands_at_the_top_level(reports: Reports):
    reports.updated({"rows": 3})
    assert reports.payload(None, ()) == {"rows": 3, "possible": []}


@pytest.mark.parametrize("given", ["text", 3, [1, 2], False, 0, {}])
def test_what_is_no_object_stands_under_a_name(reports: Reports, given: Any):
    reports.updated(given)
    payload = reports.payload(None, ())
    assert payload == ({"possible": []} if given == {} else {"model": given, "possible": []})


def test_the_services_own_keys_win_and_hide_nothing(reports: Reports):
    reports.updated({"possible": "mine", "rows": 3})
    payload = reports.payload(None, ("reset",))
    assert payload["possible"] == ["reset"]
    assert payload["rows"] == 3
    assert payload["model"] == {"possible": "mine", "rows": 3}


def test_a_model_takes_its_status_back_with_none(reports: Reports):
    reports.updated({"rows": 3})
    reports.updated(None)
    assert reports.payload(None, ()) == {"possible": []}


def test_to_clear_forgets_everything(reports: Reports):
    reports.began(nested=False)
    reports.progressed(Progressed(1, 2, "x", None, None))
    reports.reported(Reported((("m", 1.0, 0, 0),), {"a": 1}, {"t": 1}, (("/a", None, None),)))
    reports.updated({"mine": 1})
    reports.ended(Activity(1, "train"), "failed")
    reports.failed("train", Failure("E", "m"))
    reports.notice = "a notice"
    reports.clear()
    assert reports.payload(Activity(1, "train"), ()).keys() == {"possible", "activity"}


def test_what_others_show_stays_until_they_take_it_back(reports: Reports):
    reports.show("run", {"id": "1"})
    reports.updated({"run": "the model's own"})
    assert reports.payload(None, ()) == {"possible": [], "run": {"id": "1"}, "model": {"run": "the model's own"}}

    reports.clear()

    assert reports.payload(None, ()) == {"possible": [], "run": {"id": "1"}}
    reports.show("run", None)
    assert reports.payload(None, ()) == {"possible": []}
