"""The operations of a model: the states in which each is allowed, and the state that it leads to.

The contract repeats the table in ``x-mistk-states``. A test compares the two.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from mistk_service.kinds.evaluation.values import Metric
from mistk_service.kinds.kind import Role, RunSettings, reset_and_shutdown, row, table
from mistk_service.kinds.model.states import State
from mistk_service.kinds.values import MistkDataset

_RESET, _SHUTDOWN = reset_and_shutdown(State, State.STARTED)


def _settings(arguments: tuple[Any, ...]) -> RunSettings:
    objectives, properties, hyperparameters = arguments
    return RunSettings(hyperparameters, {"mistk.objectives": ",".join(objectives)}, properties)


OPERATIONS = table(
    row("initialize", "do_initialize", {State.STARTED}, State.INITIALIZING, State.INITIALIZED, has_default=True,
        configures_run=_settings, takes_hyperparameters=True, replicas="repeated"),
    row("loadData", "do_load_data", {State.INITIALIZED, State.READY}, State.LOADING_DATA, None,
        parameters=(dict[str, MistkDataset],), inputs=itemgetter(0), replicas="repeated"),
    row("buildModel", "do_build_model", {State.INITIALIZED, State.READY}, State.BUILDING_MODEL, State.READY,
        has_default=True, replicas="builds"),
    row("buildEnsemble", "do_build_ensemble", {State.INITIALIZED}, State.BUILDING_ENSEMBLE, State.READY,
        followed_by="do_build_model", replicas="builds"),
    row("train", "do_train", {State.READY}, State.TRAINING, State.READY, is_work=True, replicas="changes",
        copied_by=("do_save_model", "do_build_model")),
    row("predict", "do_predict", {State.READY}, State.PREDICTING, State.READY, is_work=True),
    # Predictions that arrive during an update of the properties wait in the worker's queue until the update ends.
    row("streamPredict", "do_stream_predict", {State.READY, State.UPDATING_PROPERTIES}, State.PREDICTING, State.READY,
        role=Role.PREDICTION, tensor_hook="do_infer", prompt_hook="do_generate_stream"),
    row("streamPredict/source", "do_stream_predict_source", {State.READY}, State.PREDICTING, State.READY, streams=True,
        is_work=True),
    row("streamPredict/source/cancel", "do_stream_predict_source", {State.PREDICTING}, None, State.READY,
        role=Role.CANCEL, cancels="streamPredict/source"),
    row("updateStreamProperties", "do_update_stream_properties", {State.READY}, State.UPDATING_PROPERTIES, State.READY,
        has_default=True, affects_predictions=True, replicas="repeated"),
    row("generate", "do_generate", {State.READY}, State.GENERATING, State.READY, is_work=True),
    row("evaluate", "do_evaluate", {State.READY}, State.EVALUATING, State.READY, default_needs="do_save_predictions",
        may_decline=True, parameters=(str, list[Metric]), is_work=True, saves="evaluation", saved_to=itemgetter(3)),
    row("miniaturize", "do_miniaturize", {State.READY}, State.MINIATURIZING, State.READY, is_work=True,
        saves="miniaturized"),
    row("saveModel", "do_save_model", {State.READY, State.PAUSED}, State.SAVING_MODEL, None, may_decline=True,
        saves="model"),
    row("savePredictions", "do_save_predictions", {State.READY}, State.SAVING_PREDICTIONS, State.READY, may_decline=True,
        saves="predictions"),
    row("saveGenerations", "do_save_generations", {State.READY}, State.SAVING_GENERATIONS, State.READY, may_decline=True,
        saves="generations"),
    row("pause", "do_pause", {State.TRAINING, State.PREDICTING}, State.PAUSING, State.PAUSED, role=Role.PAUSE,
        has_default=True),
    row("resumeTraining", "do_resume_training", {State.PAUSED}, None, State.TRAINING, role=Role.RESUME, resumes="train",
        has_default=True),
    row("resumePredict", "do_resume_predict", {State.PAUSED}, None, State.PREDICTING, role=Role.RESUME, resumes="predict",
        has_default=True),
    _RESET,
    _SHUTDOWN,
)  # fmt: skip
