"""The base class of models, outside of a container."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from mistk_service import AbstractModel, DetachedContext, StopActivity
from mistk_service.kinds.model.operations import OPERATIONS

#: MISTK's hooks and their parameters; models that exist rely on names and order.
HOOKS = {
    "do_initialize": ["objectives", "props", "hparams"],
    "do_load_data": ["dataset_map"],
    "do_build_model": ["path"],
    "do_build_ensemble": ["ensemble_path", "model_paths"],
    "do_train": [],
    "do_miniaturize": ["dataPath", "includeHalfPrecision"],
    "do_save_model": ["path"],
    "do_predict": [],
    "do_save_predictions": ["dataPath"],
    "do_stream_predict": ["data_map", "details"],
    "do_stream_predict_source": ["source", "format", "props"],
    "do_update_stream_properties": ["props"],
    "do_generate": [],
    "do_save_generations": ["dataPath"],
    "do_pause": [],
    "do_resume_training": [],
    "do_resume_predict": [],
    "do_reset": [],
    "do_terminate": [],
}

#: Hooks that need not be written.
OPTIONAL = {
    *(
        "do_initialize",
        "do_build_model",
        "do_update_stream_properties",
        "do_reset",
        "do_terminate",
        "do_pause",
        "do_resume_training",
        "do_resume_predict",
    )
}


class Model(AbstractModel):
    """Does not call the base class's ``__init__``."""

    def __init__(self) -> None:
        self.seen: list[int] = []


@pytest.fixture
def context() -> DetachedContext:
    return DetachedContext()


@pytest.fixture
def model(context: DetachedContext) -> Model:
    model = Model()
    model.attach(context)
    return model


def test_the_hooks_are_mistks_and_those_for_tensors_prompts_and_evaluation():
    hooks = {name: getattr(AbstractModel, name) for name in dir(AbstractModel) if name.startswith("do_")}
    assert hooks.pop("do_infer")
    assert hooks.pop("do_generate_stream")
    assert hooks.pop("do_evaluate")
    assert {name: list(inspect.signature(hook).parameters)[1:] for name, hook in hooks.items()} == HOOKS
    assert {row.hook for row in OPERATIONS.values()} == {*HOOKS, "do_evaluate"}


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_that_is_not_written_does_nothing_or_says_that_it_is_missing(name: str):
    model = Model()
    arguments: list[Any] = [{}] * sum(
        p.default is p.empty for p in inspect.signature(getattr(model, name)).parameters.values()
    )
    if name in OPTIONAL:
        assert getattr(model, name)(*arguments) is None
    else:
        with pytest.raises(NotImplementedError):
            getattr(model, name)(*arguments)


def test_a_request_to_stop_passes_a_models_own_handlers():
    assert not issubclass(StopActivity, Exception)


def test_steps_yield_everything_and_report_the_progress(model: Model, context: DetachedContext):
    reported = []
    for item in model.steps("abc", "letters"):
        reported.append((item, context.done))
    assert reported == [("a", (0, 3, "letters")), ("b", (1, 3, "letters")), ("c", (2, 3, "letters"))]
    assert context.done == (3, 3, "letters")


@pytest.mark.parametrize(
    ("iterable", "total", "shown"), [(range(2), None, 2), (iter([1, 2]), None, None), (iter([1, 2]), 2, 2)]
)
def test_the_total_is_the_length_unless_given(model: Model, context: DetachedContext, iterable, total, shown):
    list(model.steps(iterable, total=total))
    assert context.done == (2, shown, "steps")


def test_a_loop_that_is_taken_up_again_counts_what_was_done_before(model: Model, context: DetachedContext):
    seen = [context.done for _ in model.steps(range(3, 5), "epochs", initial=3)]
    assert seen == [(3, 5, "epochs"), (4, 5, "epochs")]
    assert context.done == (5, 5, "epochs")


def test_every_turn_begins_with_a_pause_point_and_the_last_one_ends_with_one(model: Model):
    order: list[str] = []

    class Context(DetachedContext):
        def pause_point(self) -> None:
            order.append("point")

    model.attach(Context())
    for item in model.steps([1, 2]):
        order.append(f"turn {item}")
    assert order == ["point", "turn 1", "point", "turn 2", "point"]


def test_a_loop_that_is_left_early_has_no_further_pause_point(model: Model, context: DetachedContext):
    for item in model.steps(range(10)):
        if item == 3:
            break
    assert context.done == (3, 10, "steps")


def test_what_a_model_reports_reaches_its_context(model: Model, context: DetachedContext):
    model.update_status({"a": 1})
    model.report_metrics({"loss": 0.5}, step=3)
    model.report_params({"rate": 1})
    model.set_tags({"kind": "x"})
    model.log_artifact("some/file.txt", "folder")
    assert context.status == {"a": 1}
    assert context.metrics == [("loss", 0.5, 3)]
    assert (context.params, context.tags) == ({"rate": 1}, {"kind": "x"})
    assert context.artifacts == [(Path("some/file.txt"), "folder")]


def test_texts_and_figures_reach_the_context_with_their_files(model: Model, context: DetachedContext):
    figure = object()
    model.log_text("words", "notes/a.txt")
    model.log_figure(figure, "plots/a.png", save_kwargs={"dpi": 40})
    assert (context.texts, context.figures) == ({"notes/a.txt": "words"}, {"plots/a.png": figure})


def test_outside_a_container_a_model_runs_without_any_preparation():
    model = Model()
    model.pause_point()
    model.do_pause()
    assert list(model.steps([1, 2])) == [1, 2]
    model.do_resume_training()
    assert model.run is None


def test_two_models_do_not_share_a_context():
    first, second = Model(), Model()
    contexts = [DetachedContext(), DetachedContext()]
    first.attach(contexts[0])
    second.update_status("nobody's")
    second.attach(contexts[1])
    first.update_status(1)
    second.update_status(2)
    assert [context.status for context in contexts] == [1, 2]
