"""The contents of the status follow from the events alone."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from mistk_service.core.events import (
    ActivityBegan,
    ActivityEnded,
    ArtifactLogged,
    CallAccepted,
    InstanceFailed,
    InstanceReset,
    MetricsReported,
    NoticeShown,
    ParamsReported,
    ProgressReported,
    StateChanged,
    StatusUpdated,
    TagsSet,
    ValueShown,
)
from mistk_service.core.view import InstanceView
from mistk_service.doors.mistk.status import status_encoder
from mistk_service.errors import Failure
from mistk_service.kinds.model import MODEL

TRAINING = ActivityBegan("train", (), 1, "2026-01-01T00:00:00.000Z")
SAVING = ActivityBegan("saveModel", ("/m",), 2, "2026-01-01T00:00:01.000Z")


@pytest.fixture
def view() -> InstanceView:
    return InstanceView(MODEL, "Model")


def payload(view: InstanceView) -> dict[str, Any]:
    """The payload of the status, as a client gets it."""
    encode = status_encoder("ModelInstanceStatus", "an-id")
    status: dict[str, Any] = json.loads(encode(view.name, view.status(), 1))
    return status["payload"]


def reported(view: InstanceView) -> dict[str, Any]:
    """The same without what is always there."""
    return {key: value for key, value in payload(view).items() if key != "possible"}


def metrics(*points: tuple[str, float, int | None, int]) -> MetricsReported:
    return MetricsReported(points)


def ended(began: ActivityBegan, outcome: str) -> ActivityEnded:
    return ActivityEnded(began.operation, outcome, 1.5, None, began.id, "2026-01-01T00:00:02.000Z")


def test_at_first_there_is_nothing_but_what_is_possible(view: InstanceView):
    assert payload(view) == {"possible": ["initialize", "reset", "shutdown"]}


def test_an_activity_is_shown_with_its_begin(view: InstanceView):
    view.apply(TRAINING)
    assert payload(view)["activity"] == {"operation": "train", "startedAt": "2026-01-01T00:00:00.000Z"}


def test_of_a_metric_the_last_value_is_shown(view: InstanceView):
    view.apply(metrics(("loss", 2.0, 0, 10), ("loss", 1.0, 1, 20), ("other", 5.0, None, 30)))
    assert payload(view)["metrics"] == {
        "loss": {"value": 1.0, "step": 1, "timestamp": 20, "min": 1.0, "max": 2.0},
        "other": {"value": 5.0, "step": None, "timestamp": 30, "min": 5.0, "max": 5.0},
    }


def test_the_range_of_a_metric_is_that_of_all_finite_values_of_one_training(view: InstanceView):
    values = [3.0, math.nan, 9.0, math.inf, 4.0]
    view.apply(metrics(*(("loss", value, step, step) for step, value in enumerate(values))))
    shown = payload(view)["metrics"]["loss"]
    assert (shown["min"], shown["max"]) == (3.0, 9.0)
    view.apply(metrics(("loss", 1.0, 0, 10), ("loss", 2.0, 1, 11)))
    shown = payload(view)["metrics"]["loss"]
    assert (shown["min"], shown["max"]) == (1.0, 2.0)


def test_a_metric_without_a_finite_value_has_no_range(view: InstanceView):
    view.apply(metrics(("loss", math.nan, 0, 1)))
    assert payload(view)["metrics"]["loss"] == {"value": "NaN", "step": 0, "timestamp": 1}


@pytest.mark.parametrize(("value", "shown"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")])
def test_numbers_that_json_does_not_have_are_shown_by_name(view: InstanceView, value: float, shown: str):
    view.apply(metrics(("m", value, None, 0)))
    assert payload(view)["metrics"]["m"]["value"] == shown


def test_params_and_tags_accumulate_and_the_latest_wins(view: InstanceView):
    for event in (ParamsReported({"a": 1, "b": 2}), TagsSet({"t": "x"}), ParamsReported({"b": 3}), TagsSet({"t": "y"})):
        view.apply(event)
    assert reported(view) == {"params": {"a": 1, "b": 3}, "tags": {"t": "y"}}


def test_of_very_many_metrics_params_and_tags_the_first_thousand_are_shown_and_the_rest_counted(view: InstanceView):
    names = [f"n{n}" for n in range(1500)]
    view.apply(metrics(*((name, 1.0, 0, 0) for name in names)))
    view.apply(ParamsReported(dict.fromkeys(names[:1001], "p")))
    view.apply(TagsSet(dict.fromkeys(names[:1000], "t")))
    view.apply(metrics(("n0", 2.0, 1, 1), ("n1499", 2.0, 1, 1)))
    shown = payload(view)
    assert [list(shown[kind]) for kind in ("metrics", "params", "tags")] == [names[:1000]] * 3
    assert shown["metrics"]["n0"]["value"] == 2.0
    assert shown["notShown"] == {"metrics": 500, "params": 1}


def test_a_very_long_error_is_shown_with_its_beginning_and_its_end(view: InstanceView):
    failure = Failure("ValueError", "begin" + "x" * 5_000_000 + "end", "Trace" + "y" * 5_000_000 + "last")
    view.apply(InstanceFailed("train", failure))
    error = payload(view)["error"]
    for text, first, last in ((error["message"], "begin", "end"), (error["traceback"], "Trace", "last")):
        assert text.startswith(first)
        assert text.endswith(last)
        assert "characters are left out here" in text
        assert len(text) < 70_000
    assert Failure("E", "x" * 8000).message == "x" * 8000


def test_of_many_artifacts_the_newest_hundred_are_shown(view: InstanceView):
    for n in range(250):
        view.apply(ArtifactLogged(f"/f{n}", None, None))
    shown = payload(view)["artifacts"]
    assert [artifact["path"] for artifact in shown] == [f"/f{n}" for n in range(150, 250)]


def test_a_status_does_not_change_after_it_was_given(view: InstanceView):
    def report(number: int) -> None:
        view.apply(metrics(("m", float(number), number, 0)))
        view.apply(ParamsReported({f"p{number}": 1}))
        view.apply(ArtifactLogged(f"/{number}", None, None))
        view.apply(StatusUpdated({"mine": number}))

    report(1)
    given = view.status()
    before = repr(given)
    report(2)
    assert repr(given) == before


def test_progress_belongs_to_its_activity(view: InstanceView):
    view.apply(TRAINING)
    view.apply(ProgressReported(1, 4, "epochs", 0.50049, 6.0))
    progress = {"done": 1, "total": 4, "unit": "epochs", "rate": 0.5, "timeLeft": 6.0}
    assert payload(view)["progress"] == progress
    view.apply(ended(TRAINING, "completed"))
    assert "progress" not in payload(view)
    view.apply(TRAINING)
    assert "progress" not in payload(view)


def test_what_runs_at_a_pause_has_its_own_progress_and_then_the_paused_one_is_shown_again(view: InstanceView):
    view.apply(TRAINING)
    view.apply(ProgressReported(3, 9, "epochs"))
    view.apply(StateChanged("paused"))
    view.apply(SAVING)
    assert payload(view)["activity"]["operation"] == "saveModel"
    assert "progress" not in payload(view)
    view.apply(ProgressReported(1, 2, "files"))
    assert payload(view)["progress"]["unit"] == "files"
    view.apply(ended(SAVING, "completed"))
    assert payload(view)["activity"]["operation"] == "train"
    assert payload(view)["progress"]["done"] == 3


def test_the_last_activity_is_shown_with_its_outcome(view: InstanceView):
    view.apply(TRAINING)
    view.apply(ended(TRAINING, "unsupported"))
    assert payload(view)["lastActivity"] == {
        "operation": "train",
        "outcome": "unsupported",
        "startedAt": "2026-01-01T00:00:00.000Z",
        "endedAt": "2026-01-01T00:00:02.000Z",
        "seconds": 1.5,
    }


@pytest.mark.parametrize("output", [(), ("a line", "another")])
def test_a_failure_is_shown_with_all_that_is_known(view: InstanceView, output: tuple[str, ...]):
    view.apply(InstanceFailed("train", Failure("ValueError", "no", "a traceback", output)))
    shown = payload(view)
    assert shown["operation"] == "train"
    error: dict[str, Any] = {"type": "ValueError", "message": "no", "traceback": "a traceback"}
    assert shown["error"] == error | ({"output": list(output)} if output else {})


def test_what_the_model_gave_stands_at_the_top_level(view: InstanceView):
    view.apply(StatusUpdated({"rows": 3}))
    assert reported(view) == {"rows": 3}


@pytest.mark.parametrize("given", ["text", 3, [1, 2], False, 0, {}])
def test_what_is_not_an_object_stands_under_a_name(view: InstanceView, given: Any):
    view.apply(StatusUpdated(given))
    assert reported(view) == ({} if given == {} else {"model": given})


def test_the_services_own_keys_win_and_hide_nothing(view: InstanceView):
    view.apply(StatusUpdated({"possible": "mine", "rows": 3}))
    shown = payload(view)
    assert shown["possible"] == ["initialize", "reset", "shutdown"]
    assert shown["rows"] == 3
    assert shown["model"] == {"possible": "mine", "rows": 3}


def test_a_model_takes_its_status_back_with_none(view: InstanceView):
    view.apply(StatusUpdated({"rows": 3}))
    view.apply(StatusUpdated(None))
    assert reported(view) == {}


def test_a_reset_forgets_everything_but_the_notice_and_what_the_service_shows(view: InstanceView):
    for event in (
        TRAINING,
        ProgressReported(1, 2, "x"),
        metrics(("m", 1.0, 0, 0)),
        ParamsReported({"a": 1}),
        TagsSet({"t": 1}),
        ArtifactLogged("/a", None, None),
        StatusUpdated({"mine": 1}),
        ended(TRAINING, "failed"),
        InstanceFailed("train", Failure("E", "m")),
        CallAccepted("reset"),
        NoticeShown("a notice"),
        ValueShown("run", {"id": "1"}),
        InstanceReset(),
    ):
        view.apply(event)
    assert reported(view) == {"notice": "a notice", "run": {"id": "1"}}


def test_an_accepted_call_takes_the_notice_away(view: InstanceView):
    view.apply(NoticeShown("a notice"))
    view.apply(CallAccepted("pause"))
    assert reported(view) == {}


def test_what_the_service_shows_stays_until_it_takes_it_back(view: InstanceView):
    view.apply(ValueShown("run", {"id": "1"}))
    view.apply(StatusUpdated({"run": "the model's own"}))
    assert reported(view) == {"run": {"id": "1"}, "model": {"run": "the model's own"}}
    view.apply(ValueShown("run", None))
    assert reported(view) == {"run": "the model's own"}


def test_a_status_is_the_object_of_the_contract(view: InstanceView):
    encode = status_encoder("ModelInstanceStatus", "an-id")
    info = json.loads(encode("Model", view.status(), 7))["objectInfo"]
    assert (info["name"], info["kind"], info["id"], info["resourceVersion"]) == (
        "Model",
        "ModelInstanceStatus",
        "an-id",
        7,
    )
    assert info["creationTime"] <= info["modificationTime"]
